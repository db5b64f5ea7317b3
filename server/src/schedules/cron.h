#pragma once
// Cron expressions: text to fields, and the next local time that fits them. Knows no time zone.
//
// Threads: plain values.

#include <compare>
#include <cstdint>
#include <optional>
#include <string_view>

#include "sequential/base/clock.h"
#include "sequential/base/error.h"

namespace sequential::server {

// What a clock on the wall shows.
struct Civil {
  int year = 1970, month = 1, day = 1, hour = 0, minute = 0, second = 0;
  friend constexpr auto operator<=>(const Civil&, const Civil&) = default;
};

class Cron {
 public:
  // Five fields (minute hour day month weekday), six (second first), or @hourly, @daily, @weekly,
  // @monthly, @yearly, @every 1h30m. Errors: invalid_field of `cron`, saying which part and why.
  static Result<Cron> parse(std::string_view text);

  // Of @every: the length. Ticks are its multiples since 1970, in whatever time zone; else 0.
  Millis every() const { return every_; }

  // Whether it counts time as it passes (an hour or minute that begins with *): such ticks come in
  // an hour that the clocks repeat twice, and none is made up for an hour that they skip.
  bool runs_through() const { return runs_through_; }

  bool fits(const Civil& at) const;
  // The first that fits, `from` or later; none within kYearsAhead.
  std::optional<Civil> next(Civil from) const;

  static constexpr int kYearsAhead = 50;

 private:
  bool fits_day(int year, int month, int day) const;

  std::uint64_t second_ = 1, minute_ = 0;  // bit n: n fits
  std::uint32_t hour_ = 0, day_ = 0, month_ = 0, weekday_ = 0;
  bool any_day_ = false, any_weekday_ = false;  // the field begins with *
  bool runs_through_ = false;
  Millis every_{0};
};

}  // namespace sequential::server
