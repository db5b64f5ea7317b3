// The registry, the call policy, error texts, and the echo and timer services.

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "json_args.h"
#include "sequential/base/json_text.h"
#include "sequential/services/builtin.h"
#include "sequential/services/service.h"
#include "suggest.h"
#include "waiting.h"

namespace sequential::services {
namespace {

using test::Waiting;

CallReply call(const Registry& registry, std::string service, std::string method,
               std::string args = "[]") {
  Waiting<CallReply> waiting;
  CallRequest request;
  request.service = std::move(service);
  request.method = std::move(method);
  request.args = std::move(args);
  registry.call(std::move(request), waiting.take());
  return *waiting.wait();
}

class RegistryTest : public ::testing::Test {
 protected:
  RegistryTest() {
    registry_.add(make_timer_service());
    registry_.add(make_echo_service());
  }
  Registry registry_;
};

TEST_F(RegistryTest, ListsServicesByName) {
  const auto all = registry_.all();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0]->name(), "echo");
  EXPECT_EQ(all[1]->name(), "timer");
  EXPECT_EQ(registry_.find("echo"), all[0]);
  EXPECT_EQ(registry_.find("ech"), nullptr);
}

TEST_F(RegistryTest, AnswersAnUnknownServiceWithTheNamesThatExist) {
  const CallReply reply = call(registry_, "ecko", "echo");
  ASSERT_TRUE(reply.failed);
  EXPECT_EQ(reply.error.errc, Errc::unknown_service);
  EXPECT_EQ(reply.error.message, "no service \"ecko\"; there are: echo, timer");
  EXPECT_FALSE(reply.error.retryable);
}

TEST_F(RegistryTest, AnswersAnUnknownMethodWithTheNamesThatExist) {
  const CallReply reply = call(registry_, "echo", "ehco");
  ASSERT_TRUE(reply.failed);
  EXPECT_EQ(reply.error.errc, Errc::unknown_method);
  EXPECT_EQ(reply.error.message, "no echo method \"ehco\"; there are: echo, fail");
}

TEST_F(RegistryTest, CutsAndCleansANameThatIsTooLongToShow) {
  const CallReply reply = call(registry_, std::string(5000, 'x'), "echo");
  EXPECT_LT(reply.error.message.size(), 200u);
}

TEST_F(RegistryTest, EchoAnswersItsArgumentByteForByte) {
  EXPECT_EQ(call(registry_, "echo", "echo", R"([ {"b":1,"a":1.50,"b":2} , 7])").result,
            R"({"b":1,"a":1.50,"b":2})");
  EXPECT_EQ(call(registry_, "echo", "echo", "[]").result, "null");
  EXPECT_EQ(call(registry_, "echo", "echo", R"(["[,]\"{"])").result, R"("[,]\"{")");
}

TEST_F(RegistryTest, EchoFailAnswersTheErrorAskedFor) {
  const CallReply reply = call(
      registry_, "echo", "fail",
      R"([{"message":"no \u00e9","code":404,"status":404,"retryable":true,"errors":[{"a":1}]}])");
  ASSERT_TRUE(reply.failed);
  EXPECT_TRUE(reply.error.retryable);
  EXPECT_EQ(reply.error.to_json("echo", "fail"),
            "{\"name\":\"HostCallError\",\"message\":\"no é\",\"code\":404,\"status\":404,"
            "\"service\":\"echo\",\"method\":\"fail\",\"errors\":[{\"a\":1}]}");
  EXPECT_EQ(call(registry_, "echo", "fail", R"([{"code":"E_MINE"}])").error.code, "E_MINE");
}

TEST_F(RegistryTest, RefusesArgumentsThatAreNotJson) {
  EXPECT_EQ(call(registry_, "echo", "echo", "[1,").error.errc, Errc::invalid_arguments);
}

TEST(CallErrorTest, NamesFollowTheErrorCode) {
  const auto named = [](Errc errc) {
    CallError error;
    error.errc = errc;
    error.message = "m";
    return error.to_json("s", "a.b");
  };
  EXPECT_EQ(named(Errc::timeout),
            R"({"name":"TimeoutError","message":"m","code":"timeout","status":null,)"
            R"("service":"s","method":"a.b","errors":[]})");
  EXPECT_NE(named(Errc::outcome_unknown).find(R"("name":"OutcomeUnknownError")"),
            std::string::npos);
  EXPECT_NE(named(Errc::cancelled).find(R"("name":"CancelledError")"), std::string::npos);
  EXPECT_NE(named(Errc::ssrf_denied).find(R"("name":"HostCallError")"), std::string::npos);
}

TEST(CallErrorTest, IsAlwaysValidJson) {
  CallError error;
  error.message = "bad \xff bytes \n";
  error.code = "not a number";
  error.code_is_number = true;
  error.errors = "not json";
  const std::string json = error.to_json("s", "m");
  EXPECT_TRUE(check_json(json).has_value()) << json;
  EXPECT_EQ(json_member(json, "code"), "\"not a number\"");
  EXPECT_EQ(json_member(json, "errors"), "[]");
}

TEST(PolicyTest, WithoutOptionsIsTheServicesOwn) {
  CallPolicy base;
  base.attempts_max = 7;
  for (const char* none : {"", "null", "{}"}) {
    const auto merged = merge_policy(base, none);
    ASSERT_TRUE(merged.has_value()) << none;
    EXPECT_EQ(merged.value().attempts_max, 7);
    EXPECT_FALSE(merged.value().at_most_once);
  }
}

TEST(PolicyTest, TakesEveryOption) {
  const auto merged = merge_policy(
      {}, R"({"delivery":"at_least_once","timeoutMs":5000,"idempotent":true,
              "retry":{"attempts":9,"backoffMs":10,"factor":1.5,"maxBackoffMs":99}})");
  ASSERT_TRUE(merged.has_value());
  EXPECT_EQ(merged.value().timeout, Millis{5000});
  EXPECT_EQ(merged.value().attempts_max, 9);
  EXPECT_EQ(merged.value().backoff_initial, Millis{10});
  EXPECT_EQ(merged.value().backoff_factor, 1.5);
  EXPECT_EQ(merged.value().backoff_max, Millis{99});
  EXPECT_EQ(merge_policy({}, R"({"retry":false})").value().attempts_max, 1);
}

TEST(PolicyTest, RefusesAnOptionThatDoesNotExistAndGuessesWhatWasMeant) {
  const auto slip = merge_policy({}, R"({"timeoutms":5})");
  ASSERT_TRUE(slip.has_error());
  EXPECT_EQ(slip.error().code, Errc::invalid_arguments);
  EXPECT_EQ(slip.error().field, "options.timeoutms");
  EXPECT_EQ(slip.error().message, "a call has no option timeoutms; did you mean timeoutMs?");
  const auto inner = merge_policy({}, R"({"retry":{"attemps":5}})");
  ASSERT_TRUE(inner.has_error());
  EXPECT_EQ(inner.error().message,
            "a call has no option retry.attemps; did you mean retry.attempts?");
  const auto other = merge_policy({}, R"({"bogus":1})");
  ASSERT_TRUE(other.has_error());
  EXPECT_EQ(other.error().message,
            "a call has no option bogus; there are: delivery, timeoutMs, retry, idempotent");
}

TEST(PolicyTest, AServicesOwnOptionsAreItsOwn) {
  static constexpr std::string_view kOwn[] = {"subject"};
  CallPolicy base;
  EXPECT_TRUE(merge_policy(base, R"({"subject":"a@b"})").has_error());
  base.own_options = kOwn;
  EXPECT_TRUE(merge_policy(base, R"({"subject":"a@b","idempotent":true})").has_value());
}

TEST(PolicyTest, AtMostOnceIsTriedOnce) {
  const auto merged = merge_policy({}, R"({"delivery":"at_most_once"})");
  ASSERT_TRUE(merged.has_value());
  EXPECT_TRUE(merged.value().at_most_once);
  EXPECT_EQ(merged.value().attempts_max, 1);
  EXPECT_EQ(merge_policy({}, R"({"delivery":"at_most_once","retry":{"attempts":2}})").error().field,
            "options.retry.attempts");
}

TEST(PolicyTest, NamesTheOptionAtFault) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {R"({"delivery":"exactly_once"})", "options.delivery"},
      {R"({"delivery":1})", "options.delivery"},
      {R"({"timeoutMs":0})", "options.timeoutMs"},
      {R"({"timeoutMs":"5"})", "options.timeoutMs"},
      {R"({"timeoutMs":1.5})", "options.timeoutMs"},
      {R"({"timeoutMs":1e300})", "options.timeoutMs"},
      {R"({"retry":3})", "options.retry"},
      {R"({"retry":{"attempts":0}})", "options.retry.attempts"},
      {R"({"retry":{"attempts":1001}})", "options.retry.attempts"},
      {R"({"retry":{"backoffMs":-1}})", "options.retry.backoffMs"},
      {R"({"retry":{"factor":0.5}})", "options.retry.factor"},
      {R"({"retry":{"maxBackoffMs":"x"}})", "options.retry.maxBackoffMs"},
      {R"({"idempotent":1})", "options.idempotent"},
      {R"([])", "options"},
      {R"({)", "options"},
  };
  for (const auto& [options, field] : cases) {
    const auto merged = merge_policy({}, options);
    ASSERT_TRUE(merged.has_error()) << options;
    EXPECT_EQ(merged.error().code, Errc::invalid_arguments) << options;
    EXPECT_EQ(merged.error().field, field) << options;
  }
}

TEST(BackoffTest, GrowsToItsLimitAndKeepsAwayFromTheFloor) {
  CallPolicy policy;
  policy.backoff_initial = Millis{100};
  policy.backoff_factor = 2;
  policy.backoff_max = Millis{1000};
  EXPECT_EQ(backoff(policy, 2, Millis{0}, 0.0), Millis{50});
  EXPECT_EQ(backoff(policy, 2, Millis{0}, 1.0), Millis{100});
  EXPECT_EQ(backoff(policy, 3, Millis{0}, 0.0), Millis{100});
  EXPECT_EQ(backoff(policy, 5, Millis{0}, 1.0), Millis{800});
  EXPECT_EQ(backoff(policy, 6, Millis{0}, 1.0), Millis{1000});
  EXPECT_EQ(backoff(policy, 100'000, Millis{0}, 1.0), Millis{1000});
}

TEST(BackoffTest, NeverComesBeforeRetryAfter) {
  EXPECT_EQ(backoff({}, 2, Millis{7000}, 0.5), Millis{7000});
}

class TimerTest : public ::testing::Test {
 protected:
  Result<Millis> delay(std::string_view method, std::string_view args) {
    return timer_->delay(method, args);
  }
  std::shared_ptr<Service> timer_ = make_timer_service();
};

TEST_F(TimerTest, SleepsForTheGivenTimeRoundedUp) {
  EXPECT_EQ(delay("sleep", "[1500]").value(), Millis{1500});
  EXPECT_EQ(delay("sleep", "[0.2]").value(), Millis{1});
  EXPECT_EQ(delay("sleep", "[-5]").value(), Millis{0});
  EXPECT_EQ(delay("sleep", "[31536000000]").value(), Millis{31'536'000'000});
}

TEST_F(TimerTest, RefusesWhatIsNoTime) {
  for (const char* args : {"[]", "[\"5\"]", "[null]", "[{}]", "[1e400]", "[1e15]", "[["}) {
    const auto wrong = delay("sleep", args);
    ASSERT_TRUE(wrong.has_error()) << args;
    EXPECT_EQ(wrong.error().code, Errc::invalid_arguments);
    EXPECT_TRUE(test::call_and_wait(*timer_, "sleep", args).failed) << args;
  }
  for (const char* args : {"[\"tomorrow\"]", "[\"2026-02-30T00:00:00Z\"]", "[\"2026-01-01\"]",
                           "[\"2026-01-01T25:00:00Z\"]", "[]", "[99999999999999]"}) {
    EXPECT_TRUE(delay("until", args).has_error()) << args;
  }
}

TEST_F(TimerTest, WaitsUntilATimeGivenAsNumberOrDate) {
  const std::int64_t now = system_clock().now().ms;
  const auto wait = delay("until", "[" + std::to_string(now + 60'000) + "]").value();
  EXPECT_GT(wait, Millis{50'000});
  EXPECT_LE(wait, Millis{60'001});
  EXPECT_EQ(delay("until", R"(["2020-01-01T00:00:00.000Z"])").value(), Millis{0});
  const auto far = delay("until", R"(["2030-01-01T00:00:00.000Z"])").value();
  EXPECT_NEAR(static_cast<double>(now + far.count()), 1'893'456'000'000.0, 60'000.0);
}

TEST_F(TimerTest, ResolvesToNullWhenItsTimeHasCome) {
  EXPECT_EQ(test::call_and_wait(*timer_, "sleep", "[10]").result, "null");
}

TEST(SuggestTest, FindsTheNameThatWasMeant) {
  const std::vector<std::string_view> names = {
      "gmail.users.messages.list", "gmail.users.messages.get", "gmail.users.settings.sendAs.list",
      "drive.files.list",          "drive.files.get",          "calendar.events.list",
      "a.one",                     "a.two",                    "a.three",
      "a.four",                    "a.five",                   "a.six",
      "a.seven"};
  EXPECT_EQ(nearest_names("gmail.users.message.list", names, 1).front(),
            "gmail.users.messages.list");
  EXPECT_EQ(nearest_names("gmail.users.settings.sendas.list", names, 1).front(),
            "gmail.users.settings.sendAs.list");
  EXPECT_EQ(nearest_names("users.messages.list", names, 1).front(), "gmail.users.messages.list");
  EXPECT_TRUE(suggestion("nothing of the kind", names).empty());
}

TEST(JsonArgsTest, SplitsWithoutChangingAByte) {
  const auto parts = json_elements(R"([ 1.0 , "a,]\\" , {"x":[1,2]} , [] ])");
  ASSERT_EQ(parts.size(), 4u);
  EXPECT_EQ(parts[0], "1.0");
  EXPECT_EQ(parts[1], R"("a,]\\")");
  EXPECT_EQ(parts[2], R"({"x":[1,2]})");
  EXPECT_EQ(parts[3], "[]");
  EXPECT_TRUE(json_elements("[ ]").empty());
}

TEST(JsonArgsTest, KeepsTheOrderOfMembers) {
  const auto members = json_members(R"({"z":1, "a\u0062" : {"q":"}"} ,"m":[]})");
  ASSERT_EQ(members.size(), 3u);
  EXPECT_EQ(members[0].name, "z");
  EXPECT_EQ(members[1].name, "ab");
  EXPECT_EQ(members[1].value, R"({"q":"}"})");
  EXPECT_EQ(members[2].value, "[]");
}

}  // namespace
}  // namespace sequential::services
