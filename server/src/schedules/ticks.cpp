#include "schedules/ticks.h"

#include <absl/strings/string_view.h>
#include <absl/time/civil_time.h>
#include <absl/time/time.h>

#include <string>
#include <utility>

#include "schedules/cron.h"
#include "sequential/base/bytes.h"
#include "sequential/base/json_text.h"

namespace sequential::server {
namespace {

constexpr int kTransitionsMax = 1'000;  // looked past for one tick

Civil civil_of(const absl::CivilSecond& c) {
  return {static_cast<int>(c.year()), c.month(), c.day(), c.hour(), c.minute(), c.second()};
}
absl::CivilSecond civil_of(const Civil& c) {
  return absl::CivilSecond(c.year, c.month, c.day, c.hour, c.minute, c.second);
}

// Only what can be a name of the database: others name files.
bool is_zone_name(std::string_view name) {
  if (name.empty() || name.size() > 64) return false;
  bool begins = true;  // a part
  for (const char c : name) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const bool other = (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '+';
    if (c == '/' ? begins : begins ? !letter : !letter && !other) return false;
    begins = c == '/';
  }
  if (begins || name == "localtime" || name == "Factory" || name == "posixrules") return false;
  return !name.starts_with("right/") && !name.starts_with("Fixed/");
}

std::int64_t floor_seconds(WallTime t) { return t.ms >= 0 ? t.ms / 1000 : -((-t.ms + 999) / 1000); }

// By local times, in order. What a local time means never goes back as local times go on.
std::optional<std::int64_t> next_by_clock(const Cron& cron, const absl::TimeZone& zone,
                                          std::int64_t after) {
  auto from = zone.At(absl::FromUnixSeconds(after)).cs;
  for (;;) {
    const auto found = cron.next(civil_of(from));
    if (!found) return std::nullopt;
    const absl::CivilSecond local = civil_of(*found);
    const auto meant = zone.At(local);
    const absl::Time at = meant.kind == absl::TimeZone::TimeInfo::SKIPPED ? meant.trans : meant.pre;
    const std::int64_t seconds = absl::ToUnixSeconds(at);
    if (seconds > after) return seconds;
    // Either a few seconds on, or past what comes a second time now.
    from = local + 1;
  }
}

// By time as it passes, from one change of the clocks to the next.
std::optional<std::int64_t> next_running(const Cron& cron, const absl::TimeZone& zone,
                                         std::int64_t after) {
  std::int64_t at = after + 1;
  for (int i = 0; i < kTransitionsMax; ++i) {
    const auto now = zone.At(absl::FromUnixSeconds(at));
    const auto found = cron.next(civil_of(now.cs));
    if (!found) return std::nullopt;
    const std::int64_t seconds = at + (civil_of(*found) - now.cs);
    absl::TimeZone::CivilTransition change;
    if (!zone.NextTransition(absl::FromUnixSeconds(at), &change)) return seconds;
    const std::int64_t changes = absl::ToUnixSeconds(zone.At(change.to).trans);
    if (seconds < changes) return seconds;
    at = changes;
  }
  return std::nullopt;
}

}  // namespace

struct Ticks::Parts {
  Cron cron;
  absl::TimeZone zone;
};

Result<Ticks> Ticks::make(std::string_view cron, std::string_view time_zone) {
  SEQUENTIAL_TRY(auto parsed, Cron::parse(cron));
  Parts parts{std::move(parsed), absl::UTCTimeZone()};
  if (!is_zone_name(time_zone) ||
      !absl::LoadTimeZone(absl::string_view(time_zone.data(), time_zone.size()), &parts.zone)) {
    return Error{Errc::invalid_field,
                 "time_zone: this server's time zone data (the package tzdata) has no \"" +
                     clip_utf8(time_zone, 64) +
                     "\"; it takes names such as Europe/Berlin, America/New_York and UTC",
                 "time_zone"};
  }
  return Ticks(std::make_shared<const Parts>(std::move(parts)));
}

std::optional<WallTime> Ticks::next(WallTime after) const {
  const Cron& cron = parts_->cron;
  if (const std::int64_t every = cron.every().count(); every > 0) {
    const std::int64_t passed =
        after.ms >= 0 ? after.ms / every : -((-after.ms + every - 1) / every);
    return WallTime{(passed + 1) * every};
  }
  const std::int64_t seconds = floor_seconds(after);
  const auto next = cron.runs_through() ? next_running(cron, parts_->zone, seconds)
                                        : next_by_clock(cron, parts_->zone, seconds);
  if (!next) return std::nullopt;
  return WallTime{*next * 1000};
}

Millis jitter_of(std::string_view schedule, WallTime tick, Millis jitter) {
  if (jitter.count() <= 0) return Millis{0};
  const std::string key = std::string(schedule) + "/" + std::to_string(tick.ms);
  const auto hash = fast_hash(key).low;
  return Millis{static_cast<std::int64_t>(hash % static_cast<std::uint64_t>(jitter.count() + 1))};
}

}  // namespace sequential::server
