// Ticks in time zones: by hand where clocks change, and against brute force everywhere.
#include "schedules/ticks.h"

#include <absl/time/civil_time.h>
#include <absl/time/time.h>
#include <gtest/gtest.h>

#include <random>
#include <set>
#include <string>
#include <vector>

#include "schedules/cron.h"

namespace sequential::server {
namespace {

WallTime utc(int y, int mo, int d, int h = 0, int mi = 0, int s = 0) {
  const auto at = absl::FromCivil(absl::CivilSecond(y, mo, d, h, mi, s), absl::UTCTimeZone());
  return {absl::ToUnixMillis(at)};
}

// The ticks in (after, until], in UTC.
std::vector<std::string> ticks(const std::string& cron, const std::string& zone, WallTime after,
                               WallTime until) {
  const Ticks all = Ticks::make(cron, zone).value();
  std::vector<std::string> found;
  for (auto tick = all.next(after); tick && *tick <= until; tick = all.next(*tick)) {
    found.push_back(
        absl::FormatTime("%Y-%m-%d %H:%M:%S", absl::FromUnixMillis(tick->ms), absl::UTCTimeZone()));
  }
  return found;
}
using Times = std::vector<std::string>;

TEST(Ticks, ALocalTimeThatIsSkippedTicksWhenTheClocksJump) {
  // Berlin, 29 March 2026: 02:00 becomes 03:00 at 01:00 UTC.
  const WallTime from = utc(2026, 3, 28, 12), to = utc(2026, 3, 30, 12);
  EXPECT_EQ(ticks("30 2 * * *", "Europe/Berlin", from, to),
            (Times{"2026-03-29 01:00:00", "2026-03-30 00:30:00"}));
  // Two of the gap are the same moment, and so is 03:00 itself.
  EXPECT_EQ(ticks("15,45 2 * * *", "Europe/Berlin", from, utc(2026, 3, 29, 12)),
            (Times{"2026-03-29 01:00:00"}));
  EXPECT_EQ(ticks("0 1,2,3 29 3 *", "Europe/Berlin", from, to),
            (Times{"2026-03-29 00:00:00", "2026-03-29 01:00:00"}));
}

TEST(Ticks, ALocalTimeThatComesTwiceTicksTheFirstTime) {
  // New York, 1 November 2026: 02:00 becomes 01:00 at 06:00 UTC.
  EXPECT_EQ(ticks("30 1 * * *", "America/New_York", utc(2026, 10, 31, 12), utc(2026, 11, 2, 12)),
            (Times{"2026-11-01 05:30:00", "2026-11-02 06:30:00"}));
  // Asked in the second of the two hours.
  EXPECT_EQ(ticks("30 1 * * *", "America/New_York", utc(2026, 11, 1, 6, 10), utc(2026, 11, 1, 23)),
            Times{});
}

TEST(Ticks, StepsGoOnThroughBothHoursAndMakeNothingUpForASkippedOne) {
  EXPECT_EQ(ticks("*/30 * * * *", "America/New_York", utc(2026, 11, 1, 4, 59), utc(2026, 11, 1, 7)),
            (Times{"2026-11-01 05:00:00", "2026-11-01 05:30:00", "2026-11-01 06:00:00",
                   "2026-11-01 06:30:00", "2026-11-01 07:00:00"}));
  EXPECT_EQ(
      ticks("*/30 * * * *", "Europe/Berlin", utc(2026, 3, 29, 0, 29), utc(2026, 3, 29, 1, 30)),
      (Times{"2026-03-29 00:30:00", "2026-03-29 01:00:00", "2026-03-29 01:30:00"}));
  EXPECT_EQ(ticks("0 */2 * * *", "Europe/Berlin", utc(2026, 3, 28, 22), utc(2026, 3, 29, 3)),
            (Times{"2026-03-28 23:00:00", "2026-03-29 02:00:00"}));  // 00:00 and 04:00
}

TEST(Ticks, LordHoweChangesByHalfAnHour) {
  // 5 April 2026: 02:00 (+11) becomes 01:30 (+10:30) at 15:00 UTC of the 4th.
  EXPECT_EQ(ticks("45 1 5 4 *", "Australia/Lord_Howe", utc(2026, 4, 4), utc(2026, 4, 6)),
            (Times{"2026-04-04 14:45:00"}));
  EXPECT_EQ(ticks("*/15 * 5 4 *", "Australia/Lord_Howe", utc(2026, 4, 4, 14, 29),
                  utc(2026, 4, 4, 15, 30)),
            (Times{"2026-04-04 14:30:00", "2026-04-04 14:45:00", "2026-04-04 15:00:00",
                   "2026-04-04 15:15:00", "2026-04-04 15:30:00"}));
  // 4 October 2026: 02:00 becomes 02:30 at 15:30 UTC of the 3rd.
  EXPECT_EQ(ticks("15 2 4 10 *", "Australia/Lord_Howe", utc(2026, 10, 3), utc(2026, 10, 5)),
            (Times{"2026-10-03 15:30:00"}));
}

TEST(Ticks, ApiaHadNoThirtiethOfDecember2011) {
  // The whole day was skipped at its first moment, 10:00 UTC of the 30th.
  EXPECT_EQ(ticks("0 12 * * *", "Pacific/Apia", utc(2011, 12, 29), utc(2011, 12, 31, 12)),
            (Times{"2011-12-29 22:00:00", "2011-12-30 10:00:00", "2011-12-30 22:00:00"}));
  EXPECT_EQ(ticks("0 * * * *", "Pacific/Apia", utc(2011, 12, 30, 8), utc(2011, 12, 30, 12)),
            (Times{"2011-12-30 09:00:00", "2011-12-30 10:00:00", "2011-12-30 11:00:00",
                   "2011-12-30 12:00:00"}));
}

TEST(Ticks, RulesHoldInYearsThatNoTableLists) {
  EXPECT_EQ(ticks("0 12 1 1,7 *", "Europe/Berlin", utc(2090, 1, 1), utc(2090, 12, 31)),
            (Times{"2090-01-01 11:00:00", "2090-07-01 10:00:00"}));
}

TEST(Ticks, EveryCountsFrom1970InWhateverZone) {
  EXPECT_EQ(ticks("@every 90s", "Europe/Berlin", utc(1970, 1, 1), utc(1970, 1, 1, 0, 4)),
            (Times{"1970-01-01 00:01:30", "1970-01-01 00:03:00"}));
}

TEST(Ticks, OnlyNamesOfTheTimeZoneDatabaseAreZones) {
  for (const char* zone : {"", "Mars/Phobos", "/etc/passwd", "../etc/passwd", "file:/etc/passwd",
                           "localtime", "Europe/../Europe/Berlin", "Europe//Berlin", "Europe/",
                           "right/UTC", "Fixed/UTC+01:00:00", "Europe/Berlin\n"}) {
    const auto made = Ticks::make("@hourly", zone);
    ASSERT_TRUE(made.has_error()) << zone;
    EXPECT_EQ(made.error().field, "time_zone");
  }
  for (const char* zone : {"UTC", "Etc/GMT+5", "America/Argentina/Buenos_Aires", "EST5EDT"}) {
    EXPECT_TRUE(Ticks::make("@hourly", zone).has_value()) << zone;
  }
}

TEST(Ticks, JitterIsWithinItsBoundAndTheSameForATick) {
  std::set<std::int64_t> seen;
  for (int i = 0; i < 1'000; ++i) {
    const Millis jitter = jitter_of("report", {i * 1'000}, Millis{30});
    EXPECT_EQ(jitter, jitter_of("report", {i * 1'000}, Millis{30}));
    seen.insert(jitter.count());
  }
  EXPECT_EQ(seen.size(), 31u);
  EXPECT_EQ(*seen.begin(), 0);
  EXPECT_EQ(jitter_of("report", {1}, Millis{0}), Millis{0});
}

// --- against brute force -------------------------------------------------------------------------

// All ticks of [from, from + seconds), found by looking at each second.
std::set<std::int64_t> by_brute_force(const Cron& cron, absl::TimeZone zone, std::int64_t from,
                                      std::int64_t seconds) {
  std::set<std::int64_t> found;
  const auto civil = [](const absl::CivilSecond& c) {
    return Civil{static_cast<int>(c.year()), c.month(), c.day(), c.hour(), c.minute(), c.second()};
  };
  if (cron.runs_through()) {
    for (std::int64_t at = from; at < from + seconds; ++at) {
      if (cron.fits(civil(zone.At(absl::FromUnixSeconds(at)).cs))) found.insert(at);
    }
    return found;
  }
  // Every local time of those days, and some around.
  const auto first = zone.At(absl::FromUnixSeconds(from)).cs - 90'000;
  const auto last = zone.At(absl::FromUnixSeconds(from + seconds)).cs + 90'000;
  for (auto local = first; local < last; ++local) {
    if (!cron.fits(civil(local))) continue;
    const auto meant = zone.At(local);
    const bool skipped = meant.kind == absl::TimeZone::TimeInfo::SKIPPED;
    const auto at = absl::ToUnixSeconds(skipped ? meant.trans : meant.pre);
    if (at >= from && at < from + seconds) found.insert(at);
  }
  return found;
}

class Chance {
 public:
  explicit Chance(unsigned seed) : engine_(seed) {}
  int below(int n) { return static_cast<int>(engine_() % static_cast<unsigned>(n)); }
  std::string field(int min, int max) {
    const auto number = [&] { return std::to_string(min + below(max - min + 1)); };
    switch (below(6)) {
      case 0:
        return "*";
      case 1:
        return "*/" + std::to_string(1 + below(max));
      case 2:
        return number() + "," + number();
      case 3: {
        const int low = min + below(max - min + 1);
        return std::to_string(low) + "-" + std::to_string(low + below(max - low + 1));
      }
      case 4:
        return number() + "/" + std::to_string(1 + below(max));
      default:
        return number();
    }
  }

 private:
  std::mt19937 engine_;
};

TEST(Ticks, AreThoseThatBruteForceFinds) {
  struct Day {
    const char* zone;
    WallTime around;
  };
  const Day days[] = {
      {"Europe/Berlin", utc(2026, 3, 28, 12)},     {"Europe/Berlin", utc(2026, 10, 24, 12)},
      {"America/New_York", utc(2026, 3, 7, 12)},   {"America/New_York", utc(2026, 10, 31, 12)},
      {"Australia/Lord_Howe", utc(2026, 4, 4)},    {"Australia/Lord_Howe", utc(2026, 10, 3)},
      {"Pacific/Apia", utc(2011, 12, 29, 12)},     {"America/Sao_Paulo", utc(2018, 11, 3, 12)},
      {"Africa/Casablanca", utc(2026, 2, 14, 12)}, {"UTC", utc(2026, 2, 28)},
  };
  constexpr std::int64_t kSeconds = 2 * 86'400;
  for (unsigned seed = 1; seed <= 60; ++seed) {
    Chance chance(seed);
    const Day& day = days[seed % std::size(days)];
    const std::string text = chance.field(0, 59) + " " + chance.field(0, 59) + " " +
                             chance.field(0, 23) + (chance.below(3) > 0 ? " * * *" : " */2 * 0-5");
    SCOPED_TRACE(text + " in " + day.zone + ", seed " + std::to_string(seed));
    const Cron cron = Cron::parse(text).value();
    absl::TimeZone zone;
    ASSERT_TRUE(absl::LoadTimeZone(day.zone, &zone));
    const std::int64_t from = day.around.ms / 1000;
    const auto expected = by_brute_force(cron, zone, from, kSeconds);
    const Ticks all = Ticks::make(text, day.zone).value();
    std::set<std::int64_t> found;
    for (auto tick = all.next({from * 1000 - 1}); tick && tick->ms < (from + kSeconds) * 1000;
         tick = all.next(*tick)) {
      ASSERT_TRUE(found.insert(tick->ms / 1000).second) << "a tick that does not go on";
    }
    ASSERT_EQ(found, expected);
    // And from any moment: the first of those after it.
    for (int i = 0; i < 200; ++i) {
      const std::int64_t at = from * 1000 + chance.below(static_cast<int>(kSeconds * 1000 - 1));
      const auto after = expected.upper_bound(at / 1000);
      const auto next = all.next({at});
      ASSERT_TRUE(next.has_value());
      if (after != expected.end()) {
        ASSERT_EQ(next->ms, *after * 1000) << at;
      }
    }
  }
}

}  // namespace
}  // namespace sequential::server
