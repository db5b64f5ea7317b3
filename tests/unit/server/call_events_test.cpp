// A client of a run's calls is told of each beginning and each outcome once, wherever it comes back.
#include "work/call_events.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "work/run_events.h"

namespace sequential::server {
namespace {

using storage::CallTrace;
using storage::StackStatus;
using Told = std::vector<std::string>;

// A run's calls, and what the store answers about them.
struct Calls {
  std::vector<CallTrace> all;
  storage::TaskRun run;

  void begin(int count) {
    for (int i = 0; i < count; ++i) {
      all.emplace_back().seq = ++run.call_count;
      all.back().service = "s";
    }
  }
  void end(std::int64_t seq) {
    CallTrace& call = all[static_cast<std::size_t>(seq - 1)];
    call.position = ++run.journal_length;
    call.status = StackStatus::completed;
  }
  std::vector<CallTrace> read(const storage::CallsAsked& asked) const {
    std::vector<CallTrace> page;
    for (const CallTrace& call : all) {
      const bool wanted =
          call.seq > asked.from
              ? call.seq <= asked.through
              : std::binary_search(asked.open.begin(), asked.open.end(), call.seq);
      if (wanted && call.seq > asked.after && std::ssize(page) < asked.limit) page.push_back(call);
    }
    return page;
  }
};

// Takes all there is. Each entry: the event, the call, and the cursor with it.
struct Client {
  CallTrail trail;
  Told told;
  std::vector<CallsSeen> cursors;
  std::size_t rows = 0;

  explicit Client(CallsSeen seen = {}) : trail(seen) {}
  void watch(const Calls& calls) {
    while (trail.behind(calls.run)) {
      const auto page = calls.read(trail.next(TaskRunId{1}));
      rows += page.size();
      trail.take(page, [this](std::string_view event, const std::string& data) {
        told.push_back(std::string(event) + " " + data.substr(7, data.find(',') - 7));
        cursors.push_back(trail.seen());
      });
    }
  }
};

TEST(CallTrail, TellsOfEachCallTwiceAndOnceOnly) {
  Calls calls;
  calls.begin(3);
  calls.end(2);
  Client client;
  client.watch(calls);
  EXPECT_EQ(client.told, (Told{"call 1", "call 2", "outcome 2", "call 3"}));
  client.told.clear();
  client.watch(calls);
  EXPECT_EQ(client.told, Told{});
  calls.end(1);
  calls.begin(1);
  calls.end(4);
  client.watch(calls);
  EXPECT_EQ(client.told, (Told{"outcome 1", "call 4", "outcome 4"}));
}

TEST(CallTrail, ReadsOnlyWhatIsOpenOrNew) {
  Calls calls;
  calls.begin(1'000);
  for (int seq = 2; seq <= 1'000; ++seq) calls.end(seq);
  Client client;
  client.watch(calls);
  EXPECT_EQ(client.told.size(), 1'999u);
  client.rows = 0;
  calls.begin(1);
  client.watch(calls);
  EXPECT_EQ(client.rows, 2u);
}

TEST(CallTrail, ComesBackBehindAnyEventWithoutLossOrRepetition) {
  Calls calls;
  calls.begin(450);  // more than two pages
  std::vector<std::int64_t> order;
  for (std::int64_t seq = 1; seq <= 450; seq += 1 + seq % 3) order.push_back(seq);
  std::shuffle(order.begin(), order.end(), std::mt19937(7));
  for (const auto seq : order) calls.end(seq);
  Client whole;
  whole.watch(calls);
  Told sorted = whole.told;
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(std::adjacent_find(sorted.begin(), sorted.end()), sorted.end());
  for (std::size_t at = 0; at < whole.told.size(); at += 5) {
    Calls later = calls;  // more has happened meanwhile
    later.begin(2);
    later.end(451);
    later.end(2);
    Client back(whole.cursors[at]);
    back.watch(later);
    Told both(whole.told.begin(), whole.told.begin() + static_cast<std::ptrdiff_t>(at) + 1);
    both.insert(both.end(), back.told.begin(), back.told.end());
    std::sort(both.begin(), both.end());
    Told wanted = sorted;
    for (const char* more : {"call 451", "call 452", "outcome 451", "outcome 2"}) {
      wanted.emplace_back(more);
    }
    std::sort(wanted.begin(), wanted.end());
    ASSERT_EQ(both, wanted) << at << " " << whole.told[at];
  }
}

TEST(CallTrail, ARunThatIsTakenBackIsToldOfFromThere) {
  Calls calls;
  calls.begin(4);
  for (int seq = 1; seq <= 4; ++seq) calls.end(seq);
  Client client;
  client.watch(calls);
  client.told.clear();
  calls.all.resize(3);
  calls.all[2].position = 0;
  calls.all[2].status = StackStatus::pending;
  calls.run.call_count = 3;
  calls.run.journal_length = 2;
  client.watch(calls);
  EXPECT_EQ(client.told, Told{});
  calls.end(3);
  calls.begin(1);
  client.watch(calls);
  EXPECT_EQ(client.told, (Told{"outcome 3", "call 4"}));
}

TEST(EventCursor, HasCallsOnlyWhereTheyAreAskedFor) {
  const auto text_of = [](std::string_view id, bool calls) {
    auto cursor = parse_event_cursor(id).value();
    cursor.with_calls = calls;
    return cursor.text();
  };
  EXPECT_EQ(text_of("12", false), "12.0.0");
  EXPECT_EQ(text_of("12.3.1", true), "12.3.1.0.0");
  EXPECT_EQ(text_of("12.3.1.7.5", true), "12.3.1.7.5");
  EXPECT_EQ(text_of("12.3.1.7.5", false), "12.3.1");
  EXPECT_EQ(text_of("12.3.1.7.5.9.8", true), "12.3.1.7.5.9.8");
  for (const char* wrong : {"1.2.3.4.5.6.7.8", "1.2.3.-4", "1..2", "1.2.3.4.", "x"}) {
    EXPECT_TRUE(parse_event_cursor(wrong).has_error()) << wrong;
  }
}

}  // namespace
}  // namespace sequential::server
