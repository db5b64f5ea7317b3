// Stack runs as the API shows them: every try, also the one that is the row itself.
#include "routes/render.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "sequential/base/json_text.h"

namespace sequential::server {
namespace {

using storage::Attempt;
using storage::StackRun;
using storage::StackStatus;

StackRun call(StackStatus status, int attempt, std::int64_t epoch) {
  StackRun row;
  row.id = StackRunId{7};
  row.task_run_id = TaskRunId{1};
  row.seq = 1;
  row.status = status;
  row.attempt = attempt;
  row.epoch = epoch;
  row.lease_owner = "node-b";
  row.started_at = WallTime{2'000};
  if (storage::is_terminal(status)) row.ended_at = WallTime{3'000};
  return row;
}

Attempt earlier(int attempt, std::int64_t epoch, const std::string& outcome) {
  Attempt one;
  one.stack_run_id = StackRunId{7};
  one.attempt = attempt;
  one.epoch = epoch;
  one.node = "node-a";
  one.ended_at = WallTime{1'000};
  one.outcome = outcome;
  return one;
}

std::string attempts_of(const StackRun& row, const std::vector<Attempt>& attempts) {
  const std::string text = render_stack_run(row, attempts);
  EXPECT_TRUE(check_json(text).has_value()) << text;
  return std::string(json_member(text, "attempts"));
}

TEST(RenderAttempts, TheTryThatEndedTheCallIsShownAfterThoseBefore) {
  StackRun row = call(StackStatus::failed, 2, 2);
  row.error = R"({"code":"timeout"})";
  const std::string shown = attempts_of(row, {earlier(1, 1, "failed")});
  EXPECT_NE(shown.find(R"("attempt":1,"epoch":1,"node":"node-a","outcome":"failed")"),
            std::string::npos)
      << shown;
  EXPECT_NE(shown.find(R"({"attempt":2,"epoch":2,"node":"node-b","outcome":"failed",)"
                       R"("error":{"code":"timeout"},"started_at":"1970-01-01T00:00:02.000Z",)"
                       R"("ended_at":"1970-01-01T00:00:03.000Z"})"),
            std::string::npos)
      << shown;
}

TEST(RenderAttempts, AFirstTryThatSucceedsIsShownToo) {
  const std::string shown = attempts_of(call(StackStatus::completed, 1, 1), {});
  EXPECT_NE(shown.find(R"("attempt":1)"), std::string::npos) << shown;
  EXPECT_NE(shown.find(R"("outcome":"completed")"), std::string::npos) << shown;
}

TEST(RenderAttempts, ATryUnderWayHasNoEndYet) {
  const std::string shown = attempts_of(call(StackStatus::processing, 2, 3),
                                        {earlier(1, 1, "lost"), earlier(2, 2, "released")});
  EXPECT_NE(shown.find(R"("outcome":"running")"), std::string::npos) << shown;
  EXPECT_NE(shown.find(R"("ended_at":null)"), std::string::npos) << shown;
}

TEST(RenderAttempts, NoTryIsInventedOrShownTwice) {
  EXPECT_EQ(attempts_of(call(StackStatus::pending, 0, 0), {}), "[]");
  StackRun root = call(StackStatus::completed, 1, 5);
  root.seq = 0;
  EXPECT_EQ(attempts_of(root, {}), "[]");
  const auto count = [](const std::string& shown) {
    std::size_t found = 0;
    for (auto at = shown.find("\"attempt\":"); at != std::string::npos;
         at = shown.find("\"attempt\":", at + 1)) {
      ++found;
    }
    return found;
  };
  // Waiting for its second try; cancelled meanwhile; ended as outcome unknown without another try.
  EXPECT_EQ(count(attempts_of(call(StackStatus::pending, 1, 1), {earlier(1, 1, "failed")})), 1u);
  EXPECT_EQ(count(attempts_of(call(StackStatus::cancelled, 1, 2), {earlier(1, 1, "failed")})), 1u);
  EXPECT_EQ(count(attempts_of(call(StackStatus::failed, 1, 2), {earlier(1, 1, "lost")})), 1u);
}

}  // namespace
}  // namespace sequential::server
