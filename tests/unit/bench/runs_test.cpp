#include "runs.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace sequential::bench {
namespace {

HttpAnswer answer(int status, const char* run_status, int calls, int sum) {
  const nlohmann::json result{{"calls", calls}, {"sum", sum}};
  const nlohmann::json body{
      {"success", true}, {"data", {{"taskRunId", 7}, {"status", run_status}, {"result", result}}}};
  return {status, body.dump()};
}

TEST(CheckCompleted, TakesNothingButTheRightSum) {
  EXPECT_TRUE(check_completed(answer(200, "completed", 500, 125'250), 500).has_value());
  EXPECT_TRUE(check_completed(answer(200, "completed", 500, 125'249), 500).has_error());
  EXPECT_TRUE(check_completed(answer(200, "completed", 499, 125'250), 500).has_error());
  EXPECT_TRUE(check_completed(answer(200, "running", 500, 125'250), 500).has_error());
  EXPECT_TRUE(check_completed(answer(202, "completed", 500, 125'250), 500).has_error());
  for (const char* body : {"", "[]", "{}", R"({"data":3})", R"({"data":{"status":"completed"}})"}) {
    EXPECT_TRUE(check_completed({200, body}, 500).has_error()) << body;
  }
}

TEST(CheckRun, TakesNothingButTheRightSum) {
  nlohmann::json run{{"status", "completed"}, {"result", {{"calls", 3}, {"sum", 6}}}};
  EXPECT_TRUE(check_run(run, 3).has_value());
  run["result"]["sum"] = 5;
  EXPECT_TRUE(check_run(run, 3).has_error());
  run["result"] = nullptr;
  EXPECT_TRUE(check_run(run, 3).has_error());
  EXPECT_TRUE(check_run(nlohmann::json::object(), 3).has_error());
}

TEST(RunId, IsReadFromAnAcceptedRunOnly) {
  EXPECT_EQ(run_id(answer(202, "queued", 0, 0)).value(), 7);
  EXPECT_TRUE(run_id(answer(503, "queued", 0, 0)).has_error());
  EXPECT_TRUE(run_id({202, "{}"}).has_error());
}

TEST(ExecuteRequest, AsksForTheResultOnlyWhenItIsWaitedFor) {
  const Endpoint to{"127.0.0.1", 1};
  EXPECT_NE(execute_request(to, 10, Wait::for_result).find("Prefer: wait="), std::string::npos);
  EXPECT_EQ(execute_request(to, 10, Wait::no).find("Prefer:"), std::string::npos);
  EXPECT_NE(execute_request(to, 10, Wait::no).find(R"("calls":10)"), std::string::npos);
}

}  // namespace
}  // namespace sequential::bench
