#include "schedules/cron.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <span>
#include <string>
#include <vector>

#include "sequential/base/json_text.h"

namespace sequential::server {
namespace {

constexpr std::size_t kTextMax = 256;
constexpr std::int64_t kEveryMax = 366ll * 24 * 3600;  // seconds

constexpr std::array<std::string_view, 12> kMonths{"JAN", "FEB", "MAR", "APR", "MAY", "JUN",
                                                   "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"};
constexpr std::array<std::string_view, 7> kWeekdays{"SUN", "MON", "TUE", "WED",
                                                    "THU", "FRI", "SAT"};

struct Field {
  std::string_view name;
  int min = 0, max = 0;
  std::span<const std::string_view> names;  // of min, min + 1 …
};
constexpr std::array<Field, 6> kFields{{{"second", 0, 59, {}},
                                        {"minute", 0, 59, {}},
                                        {"hour", 0, 23, {}},
                                        {"day of the month", 1, 31, {}},
                                        {"month", 1, 12, kMonths},
                                        {"day of the week", 0, 7, kWeekdays}}};

Error wrong(const std::string& why) { return Error{Errc::invalid_field, "cron: " + why, "cron"}; }

std::string quoted(std::string_view text) { return "\"" + clip_utf8(text, 40) + "\""; }

// A part of a field that cannot be.
Error wrong(const Field& field, std::string_view part, const std::string& why) {
  return wrong("the " + std::string(field.name) + " " + quoted(part) + " " + why);
}

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> parts;
  for (;;) {
    const auto end = text.find(at);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::vector<std::string_view> words(std::string_view text) {
  std::vector<std::string_view> found;
  for (std::size_t at = 0; at < text.size();) {
    const auto begin = text.find_first_not_of(" \t", at);
    if (begin == std::string_view::npos) break;
    const auto end = std::min(text.find_first_of(" \t", begin), text.size());
    found.push_back(text.substr(begin, end - begin));
    at = end;
  }
  return found;
}

bool same_word(std::string_view text, std::string_view capitals) {
  if (text.size() != capitals.size()) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i] >= 'a' && text[i] <= 'z' ? static_cast<char>(text[i] - 32) : text[i];
    if (c != capitals[i]) return false;
  }
  return true;
}

// Up to nine digits; anything else is none.
std::optional<int> digits(std::string_view text) {
  if (text.empty() || text.size() > 9) return std::nullopt;
  int value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  return value;
}

Result<int> read_value(const Field& field, std::string_view part, std::string_view text) {
  for (std::size_t i = 0; i < field.names.size(); ++i) {
    if (same_word(text, field.names[i])) return field.min + static_cast<int>(i);
  }
  const auto value = digits(text);
  if (!value) {
    const std::string names =
        field.names.empty() ? "" : " or a name such as " + std::string(field.names[1]);
    return wrong(field, part,
                 "is not understood: it takes numbers from " + std::to_string(field.min) + " to " +
                     std::to_string(field.max) + names +
                     ", lists 1,2, ranges 1-5, steps */5 and * (not L, W or #)");
  }
  if (*value < field.min || *value > field.max) {
    return wrong(field, part,
                 "is out of range: it goes from " + std::to_string(field.min) + " to " +
                     std::to_string(field.max));
  }
  return *value;
}

// One part between commas, as bits.
Result<std::uint64_t> read_part(const Field& field, std::string_view part) {
  const auto slash = part.find('/');
  const std::string_view range = part.substr(0, slash);
  int first = field.min, last = field.max, step = 1;
  const bool days = field.min == 1 && field.max == 31;
  const bool star = range == "*" || (range == "?" && (days || field.max == 7));
  if (!star) {
    const auto dash = range.find('-');
    SEQUENTIAL_TRY(first, read_value(field, part, range.substr(0, dash)));
    last = slash == std::string_view::npos ? first : field.max;
    if (dash != std::string_view::npos) {
      SEQUENTIAL_TRY(last, read_value(field, part, range.substr(dash + 1)));
      if (field.max == 7 && last == 0 && first > 0) last = 7;  // FRI-SUN
      if (last < first) return wrong(field, part, "goes backwards; write two ranges");
    }
  }
  if (slash != std::string_view::npos) {
    const auto given = digits(part.substr(slash + 1));
    if (!given || *given < 1 || *given > field.max) {
      return wrong(field, part,
                   "has a step that must be a number from 1 to " + std::to_string(field.max) +
                       "; for other intervals there is @every, such as @every 90s");
    }
    step = *given;
  }
  std::uint64_t bits = 0;
  for (int value = first; value <= last; value += step) bits |= 1ull << value;
  return bits;
}

Result<std::uint64_t> read_field(const Field& field, std::string_view text) {
  std::uint64_t bits = 0;
  for (const std::string_view part : split(text, ',')) {
    if (part.empty()) return wrong(field, text, "has an empty part");
    SEQUENTIAL_TRY(const std::uint64_t more, read_part(field, part));
    bits |= more;
  }
  return bits;
}

// "1h30m" as seconds.
std::optional<std::int64_t> duration(std::string_view text) {
  std::int64_t total = 0;
  std::size_t at = 0;
  while (at < text.size()) {
    const auto end = text.find_first_not_of("0123456789", at);
    if (end == std::string_view::npos) return std::nullopt;
    const auto count = digits(text.substr(at, end - at));
    if (!count) return std::nullopt;
    const auto unit = std::string_view("smhd").find(text[end]);
    if (unit == std::string_view::npos) return std::nullopt;
    constexpr std::array<std::int64_t, 4> kSeconds{1, 60, 3600, 86'400};
    total += *count * kSeconds.at(unit);
    at = end + 1;
  }
  return total;
}

struct Short {
  std::string_view name, fields;
};
constexpr std::array<Short, 7> kShorts{{{"@yearly", "0 0 1 1 *"},
                                        {"@annually", "0 0 1 1 *"},
                                        {"@monthly", "0 0 1 * *"},
                                        {"@weekly", "0 0 * * 0"},
                                        {"@daily", "0 0 * * *"},
                                        {"@midnight", "0 0 * * *"},
                                        {"@hourly", "0 * * * *"}}};

bool starred(std::string_view field) { return field.front() == '*' || field.front() == '?'; }

bool has(std::uint64_t bits, int n) { return (bits >> n & 1) != 0; }

// The lowest bit from `from` on; 64 if there is none.
int lowest(std::uint64_t bits, int from) {
  for (int n = from; n < 64; ++n) {
    if (has(bits, n)) return n;
  }
  return 64;
}

int days_in(int year, int month) {
  using namespace std::chrono;
  const year_month_day_last last{std::chrono::year{year} /
                                 std::chrono::month{static_cast<unsigned>(month)} /
                                 std::chrono::last};
  return static_cast<int>(static_cast<unsigned>(last.day()));
}

}  // namespace

Result<Cron> Cron::parse(std::string_view text) {
  if (text.size() > kTextMax) return wrong("is longer than 256 bytes");
  auto fields = words(text);
  if (!fields.empty() && fields[0] == "@every") {
    const auto seconds = fields.size() == 2 ? duration(fields[1]) : std::nullopt;
    if (!seconds || *seconds < 1 || *seconds > kEveryMax) {
      return wrong("@every takes one length from 1s to 366d, such as @every 90s or @every 1h30m");
    }
    Cron cron;
    cron.every_ = Millis{*seconds * 1000};
    return cron;
  }
  if (!fields.empty() && fields[0].front() == '@') {
    std::string_view meant;
    for (const Short& one : kShorts) {
      if (fields.size() == 1 && fields[0] == one.name) meant = one.fields;
    }
    if (meant.empty()) {
      return wrong(quoted(text) +
                   " is not known; there are @hourly, @daily, @weekly, @monthly, @yearly and "
                   "@every 90s");
    }
    fields = words(meant);
  }
  if (fields.size() != 5 && fields.size() != 6) {
    return wrong("has " + std::to_string(fields.size()) +
                 " fields; it takes 5 (minute, hour, day of the month, month, day of the week), "
                 "or 6 with the second before them");
  }
  const bool seconds = fields.size() == 6;
  if (!seconds) fields.insert(fields.begin(), "0");
  std::array<std::uint64_t, 6> bits{};
  for (std::size_t i = 0; i < 6; ++i) {
    SEQUENTIAL_TRY(bits.at(i), read_field(kFields.at(i), fields[i]));
  }
  Cron cron;
  cron.second_ = bits[0];
  cron.minute_ = bits[1];
  cron.hour_ = static_cast<std::uint32_t>(bits[2]);
  cron.day_ = static_cast<std::uint32_t>(bits[3]);
  cron.month_ = static_cast<std::uint32_t>(bits[4]);
  cron.weekday_ = static_cast<std::uint32_t>((bits[5] | bits[5] >> 7) & 0x7f);  // 7 is Sunday too
  cron.any_day_ = starred(fields[3]);
  cron.any_weekday_ = starred(fields[5]);
  cron.runs_through_ = starred(fields[1]) || starred(fields[2]);
  if (!cron.next(Civil{2000, 1, 1})) {
    return wrong("never comes: no month of it has such a day");
  }
  return cron;
}

// As cron has it: of two restricted day fields either is enough.
bool Cron::fits_day(int year, int month, int day) const {
  const bool by_day = has(day_, day);
  const std::chrono::year_month_day date{std::chrono::year{year},
                                         std::chrono::month{static_cast<unsigned>(month)},
                                         std::chrono::day{static_cast<unsigned>(day)}};
  const auto weekday = std::chrono::weekday{std::chrono::sys_days{date}}.c_encoding();
  const bool by_weekday = has(weekday_, static_cast<int>(weekday));
  if (any_day_ || any_weekday_) return by_day && by_weekday;
  return by_day || by_weekday;
}

bool Cron::fits(const Civil& at) const {
  return has(second_, at.second) && has(minute_, at.minute) && has(hour_, at.hour) &&
         has(month_, at.month) && fits_day(at.year, at.month, at.day);
}

std::optional<Civil> Cron::next(Civil from) const {
  const int year_max = from.year + kYearsAhead;
  Civil at = from;
  const auto to_next_day = [&at] {
    at.hour = at.minute = at.second = 0;
    if (++at.day <= days_in(at.year, at.month)) return;
    at.day = 1;
    if (++at.month <= 12) return;
    at.month = 1;
    ++at.year;
  };
  while (at.year <= year_max) {
    if (!has(month_, at.month)) {
      at = {at.year, at.month + 1, 1, 0, 0, 0};
      if (at.month > 12) at = {at.year + 1, 1, 1, 0, 0, 0};
      continue;
    }
    if (!fits_day(at.year, at.month, at.day)) {
      to_next_day();
      continue;
    }
    const int hour = lowest(hour_, at.hour);
    if (hour > 23) {
      to_next_day();
      continue;
    }
    if (hour > at.hour) at = {at.year, at.month, at.day, hour, 0, 0};
    const int minute = lowest(minute_, at.minute);
    if (minute > 59) {
      at = {at.year, at.month, at.day, at.hour + 1, 0, 0};  // 24: the next day, as above
      continue;
    }
    if (minute > at.minute) at = {at.year, at.month, at.day, at.hour, minute, 0};
    const int second = lowest(second_, at.second);
    if (second < 60) {
      at.second = second;
      return at;
    }
    at = {at.year, at.month, at.day, at.hour, at.minute + 1, 0};  // 60: the next hour, as above
  }
  return std::nullopt;
}

}  // namespace sequential::server
