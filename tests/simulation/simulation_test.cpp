// Random schedules of two or three nodes over the real Processor; see world.h.
//
//   simulation_test                                       the tests
//   simulation_test --seed N [--break NAME]               one schedule, with its trace
//   simulation_test --minutes M [--seed N]                schedules from seed N on, for so long

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>

#include "sequential/base/bytes.h"
#include "world.h"

namespace sequential::simulation {
namespace {

constexpr int kSchedules = 5'000;
constexpr int kSchedulesUntilFound = 10'000;

// Schedules that found a bug of the Processor. They mean that as long as the world draws as it does
// now; whoever changes what it draws looks for new ones by putting the bug back.
constexpr std::uint64_t kOnceFound[] = {
    86,         // a claim whose answer came after its lease counted as fresh
    101,        // … and one that was handed over with a commit
    497,        // a context was resumed whose last slice a crash of the database had taken back
    374302256,  // a slice went on from the context of one whose claim had been lost meanwhile
};

struct NamedBreak {
  Break what;
  const char* name;
};
constexpr NamedBreak kBreaks[] = {
    {Break::epoch_unchecked, "epoch_unchecked"},
    {Break::lease_ignored, "lease_ignored"},
    {Break::outcome_wakes_nobody, "outcome_wakes_nobody"},
    {Break::slice_sleeps_anyway, "slice_sleeps_anyway"},
    {Break::outcome_twice, "outcome_twice"},
    {Break::position_skipped, "position_skipped"},
    {Break::unknown_forgotten, "unknown_forgotten"},
    {Break::flush_ignored, "flush_ignored"},
    {Break::epoch_unflushed, "epoch_unflushed"},
    {Break::ids_given_again, "ids_given_again"},
    {Break::stale_reads, "stale_reads"},
    {Break::calls_half_stored, "calls_half_stored"},
    {Break::end_overwritten, "end_overwritten"},
    {Break::tries_uncounted, "tries_uncounted"},
};

std::string how_to_repeat(std::uint64_t seed, const std::string& violation) {
  return violation + "\n  to repeat it with a trace: simulation_test --seed " +
         std::to_string(seed);
}

// --- the tests -----------------------------------------------------------------------------------

TEST(Simulation, WhateverGoesWrongEveryRunEndsAsItsProgramSaysAndNoOutcomeIsLostOrDoubled) {
  const std::uint64_t first = random_u64() % 1'000'000'000;
  std::cout << "simulation: " << kSchedules << " schedules from seed " << first << "\n";
  Sights sights;
  for (std::uint64_t seed = first; seed < first + kSchedules; ++seed) {
    const auto verdict = simulate({.seed = seed});
    ASSERT_FALSE(verdict.violation) << how_to_repeat(seed, *verdict.violation);
    sights += verdict.sights;
  }
  std::cout << "simulation: " << sights.text() << "\n";
  EXPECT_TRUE(sights.missing().empty()) << "never seen: " << sights.missing().front();
}

TEST(Simulation, WhatWasOnceFoundStaysFixed) {
  for (const std::uint64_t seed : kOnceFound) {
    const auto verdict = simulate({.seed = seed});
    EXPECT_FALSE(verdict.violation) << how_to_repeat(seed, *verdict.violation);
  }
}

TEST(Simulation, TheSameSeedIsTheSameSchedule) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const auto once = simulate({.seed = seed, .keep_trace = true});
    const auto again = simulate({.seed = seed, .keep_trace = true});
    ASSERT_EQ(once.trace, again.trace) << "seed " << seed;
  }
}

class SimulationFinds : public testing::TestWithParam<NamedBreak> {};

TEST_P(SimulationFinds, AStoreThatBreaksItsContract) {
  for (std::uint64_t seed = 1; seed <= kSchedulesUntilFound; ++seed) {
    const auto verdict = simulate({.seed = seed, .breaks = GetParam().what});
    if (!verdict.violation) continue;
    std::cout << "simulation: " << GetParam().name << " found by seed " << seed << ": "
              << verdict.violation->substr(0, 120) << "\n";
    return;
  }
  FAIL() << GetParam().name << " was not found in " << kSchedulesUntilFound << " schedules";
}

INSTANTIATE_TEST_SUITE_P(Breaks, SimulationFinds, testing::ValuesIn(kBreaks),
                         [](const auto& which) { return std::string(which.param.name); });

// --- by hand -------------------------------------------------------------------------------------

int run_one(std::uint64_t seed, Break breaks) {
  const auto verdict = simulate({.seed = seed, .breaks = breaks, .trace = true});
  std::cout << "seed " << seed << ": " << verdict.violation.value_or("every invariant holds")
            << "\n";
  return verdict.violation ? 1 : 0;
}

int run_long(std::uint64_t first, double minutes, Break breaks) {
  const auto start = std::chrono::steady_clock::now();
  const auto until = start + std::chrono::duration<double, std::ratio<60>>(minutes);
  Sights sights;
  for (std::uint64_t seed = first; std::chrono::steady_clock::now() < until; ++seed) {
    const auto verdict = simulate({.seed = seed, .breaks = breaks});
    sights += verdict.sights;
    if (!verdict.violation) continue;
    std::cout << "simulation: seed " << seed << ": " << how_to_repeat(seed, *verdict.violation)
              << "\n";
    return 1;
  }
  std::cout << "simulation: from seed " << first << " on: " << sights.text() << "\n";
  return 0;
}

std::optional<int> by_hand(int argc, char** argv) {
  std::optional<std::uint64_t> seed;
  std::optional<double> minutes;
  Break breaks = Break::none;
  for (int i = 1; i + 1 < argc; ++i) {
    const std::string_view name = argv[i];
    if (name == "--seed") seed = std::strtoull(argv[i + 1], nullptr, 10);
    if (name == "--minutes") minutes = std::strtod(argv[i + 1], nullptr);
    if (name == "--break") {
      for (const auto& each : kBreaks) {
        if (std::string_view(each.name) == argv[i + 1]) breaks = each.what;
      }
    }
  }
  if (minutes) return run_long(seed.value_or(random_u64() % 1'000'000'000), *minutes, breaks);
  if (seed) return run_one(*seed, breaks);
  return std::nullopt;
}

}  // namespace
}  // namespace sequential::simulation

int main(int argc, char** argv) {
  if (const auto code = sequential::simulation::by_hand(argc, argv)) return *code;
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
