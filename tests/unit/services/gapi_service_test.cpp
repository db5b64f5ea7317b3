// The gapi service end to end against a Google of our own: tokens, requests, retries, errors.

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "gapi/account.h"
#include "gapi_fixture.h"
#include "loopback_server.h"
#include "sequential/base/json_text.h"
#include "sequential/services/builtin.h"
#include "waiting.h"

namespace sequential::services {
namespace {

using test::call_and_wait;
using test::gzip;
using test::http_response;
using test::json_response;
using test::Peer;
using test::SeenRequest;
using test::Waiting;

constexpr const char* kList = "gmail.users.messages.list";
constexpr const char* kSend = "gmail.users.messages.send";
constexpr const char* kMine = R"([{"userId":"me"}])";

class GapiServiceTest : public ::testing::Test {
 protected:
  GapiServiceTest() {
    keystore_->put("GAPI_KEY", test::service_account_json());
    keystore_->put("GAPI_ADMIN_EMAIL", " admin@a.test\n");
    GapiOptions options;
    options.endpoint = google_.endpoint();
    service_ = make_gapi_service(keystore_, *client_, options, clock_);
  }
  CallReply call(const std::string& method, const std::string& args,
                 const std::string& options = "", std::int64_t timeout_ms = 15'000) {
    return call_and_wait(*service_, method, args, options, timeout_ms);
  }
  CallReply list() { return call(kList, kMine); }
  static std::string api_error(int code, const std::string& message,
                               const std::string& reason = "") {
    return R"({"error":{"code":)" + std::to_string(code) + R"(,"message":)" +
           json_string(message) + R"(,"errors":[{"domain":"global","reason":")" + reason +
           R"("}],"status":"X"}})";
  }
  std::string claim(std::size_t n, std::string_view name) {
    const std::string claims = google_.assertion(n).claims;  // json_member looks into it
    return std::string(json_member(claims, name));
  }

  test::FakeGoogle google_;
  test::ManualClock clock_;
  std::shared_ptr<test::MapKeystore> keystore_ = std::make_shared<test::MapKeystore>();
  std::unique_ptr<HttpClient> client_ = open_http_client({});
  std::shared_ptr<Service> service_;  // goes before the client it uses
};

// --- tokens -----------------------------------------------------------------------------------------

TEST_F(GapiServiceTest, TheTokenRequestIsASignedJwt) {
  ASSERT_FALSE(list().failed);
  ASSERT_EQ(google_.token_requests().size(), 1u);
  const SeenRequest seen = google_.token_requests()[0];
  EXPECT_EQ(seen.method, "POST");
  EXPECT_EQ(seen.header("content-type"), "application/x-www-form-urlencoded");
  EXPECT_TRUE(seen.body.starts_with(
      "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion="))
      << seen.body;
  const test::Assertion assertion = google_.assertion(0);
  EXPECT_TRUE(assertion.signature_valid);
  EXPECT_EQ(assertion.header, R"({"alg":"RS256","typ":"JWT"})");
  EXPECT_EQ(assertion.claims,
            R"({"iss":"robot@project.test","scope":"https://www.googleapis.com/auth/gmail.readonly",)"
            R"("aud":"https://oauth2.googleapis.com/token","exp":1800003600,"iat":1800000000,)"
            R"("sub":"admin@a.test"})");
  EXPECT_EQ(google_.api_requests().at(0).header("authorization"), "Bearer token-1");
}

TEST_F(GapiServiceTest, TheSubjectIsTheOptionElseGmailsUserElseTheAdministrator) {
  call(kList, R"([{"userId":"u@a.test"},{"subject":"s@a.test"}])");
  call(kList, R"([{"userId":"u@a.test"}])");
  call(kList, kMine);
  call(kList, kMine, R"({"subject":"o@a.test"})");
  call("admin.users.get", R"([{"userKey":"k@a.test"}])");
  EXPECT_EQ(claim(0, "sub"), "\"s@a.test\"");
  EXPECT_EQ(claim(1, "sub"), "\"u@a.test\"");
  EXPECT_EQ(claim(2, "sub"), "\"admin@a.test\"");
  EXPECT_EQ(claim(3, "sub"), "\"o@a.test\"");
  EXPECT_EQ(claim(4, "sub"), "\"admin@a.test\"");
}

TEST_F(GapiServiceTest, ScopesAreTheOptionsElseTheMethods) {
  call(kList, R"([{"userId":"me"},{"scopes":["s1","s2"]}])");
  call("admin.domains.list", R"([{"customer":"my_customer"}])");
  call("drive.files.list", "[{}]");
  EXPECT_EQ(claim(0, "scope"), "\"s1 s2\"");
  EXPECT_EQ(claim(1, "scope"),
            "\"https://www.googleapis.com/auth/admin.directory.domain.readonly "
            "https://www.googleapis.com/auth/admin.directory.user.readonly\"");
  EXPECT_EQ(claim(2, "scope"), "\"https://www.googleapis.com/auth/drive.readonly\"");
}

TEST_F(GapiServiceTest, TheAuthorisedListDecides) {
  keystore_->put("GAPI_SCOPES", "https://www.googleapis.com/auth/drive.file");
  call("drive.files.create", R"([{"requestBody":{}}])");
  EXPECT_EQ(claim(0, "scope"), "\"https://www.googleapis.com/auth/drive.file\"");
  const CallReply reply = call("calendar.events.list", R"([{"calendarId":"primary"}])");
  EXPECT_EQ(reply.error.errc, Errc::forbidden);
  EXPECT_EQ(google_.token_requests().size(), 1u);
}

TEST_F(GapiServiceTest, ATokenIsSharedUntilFiveMinutesBeforeItsEnd) {
  list();
  list();
  clock_.advance(std::chrono::minutes{54} + std::chrono::seconds{59});
  list();
  EXPECT_EQ(google_.token_requests().size(), 1u);
  clock_.advance(std::chrono::seconds{1});
  list();
  EXPECT_EQ(google_.token_requests().size(), 2u);
  EXPECT_EQ(google_.api_requests().back().header("authorization"), "Bearer token-2");
  EXPECT_EQ(claim(1, "iat"), "1800003300");
}

TEST_F(GapiServiceTest, TokensAreKeptBySubjectAndScopes) {
  for (int i = 0; i < 2; ++i) {
    call(kList, R"([{"userId":"a@a.test"}])");
    call(kList, R"([{"userId":"b@a.test"}])");
    call("gmail.users.labels.create", R"([{"userId":"a@a.test","requestBody":{}}])");
  }
  EXPECT_EQ(google_.token_requests().size(), 3u);
}

TEST_F(GapiServiceTest, ConcurrentCallsShareOneFetch) {
  std::vector<Waiting<CallReply>> waiting(50);
  for (auto& each : waiting) {
    CallRequest request;
    request.method = kList;
    request.args = kMine;
    request.deadline = test::in_ms(15'000);
    service_->call(std::move(request), each.take());
  }
  for (auto& each : waiting) {
    const auto reply = each.wait();
    ASSERT_TRUE(reply && !reply->failed);
  }
  EXPECT_EQ(google_.token_requests().size(), 1u);
  EXPECT_EQ(google_.api_requests().size(), 50u);
}

TEST_F(GapiServiceTest, ARefusedTokenRequestIsItsOwnMessage) {
  google_.answer_token(json_response(
      401, R"({"error":"unauthorized_client","error_description":"Client is unauthorized to )"
           R"(retrieve access tokens using this method."})"));
  const CallReply reply = list();
  EXPECT_EQ(reply.error.errc, Errc::service_error);
  EXPECT_EQ(reply.error.message,
            "unauthorized_client: Client is unauthorized to retrieve access tokens using this "
            "method.");
  EXPECT_EQ(reply.error.code, "unauthorized_client");
  EXPECT_EQ(reply.error.status, 401);
  EXPECT_FALSE(reply.error.retryable);
  EXPECT_EQ(google_.token_requests().size(), 1u) << "a 4xx is not tried again";
  EXPECT_FALSE(list().failed) << "nor remembered";
}

TEST_F(GapiServiceTest, APassingFaultOfTheTokenEndpointIsRetried) {
  google_.answer_token(http_response(503, "x"));
  google_.answer_token("");  // closes the connection
  EXPECT_FALSE(list().failed);
  EXPECT_EQ(google_.token_requests().size(), 3u);
}

TEST_F(GapiServiceTest, ATokenEndpointThatStaysAwayIsARetryableError) {
  for (int i = 0; i < 10; ++i) google_.answer_token(http_response(500, "x"));
  const CallReply reply = call(kSend, R"([{"userId":"me","requestBody":{}}])");
  EXPECT_EQ(reply.error.errc, Errc::service_unavailable);
  EXPECT_TRUE(reply.error.retryable) << "the call itself was never sent";
  EXPECT_EQ(google_.token_requests().size(), 4u);
  EXPECT_TRUE(google_.api_requests().empty());
}

TEST_F(GapiServiceTest, WhileATokenIsGoodAFailedRenewalCostsNothing) {
  list();
  clock_.advance(std::chrono::minutes{56});
  for (int i = 0; i < 4; ++i) google_.answer_token(http_response(500, "x"));
  EXPECT_FALSE(list().failed);
  EXPECT_EQ(google_.api_requests().back().header("authorization"), "Bearer token-1");
}

TEST_F(GapiServiceTest, ATokenAnswerWithoutATokenIsInvalid) {
  google_.answer_token(json_response(200, R"({"id_token":"x"})"));
  EXPECT_EQ(list().error.errc, Errc::response_invalid);
  google_.answer_token(json_response(200, "not json"));
  EXPECT_EQ(list().error.errc, Errc::response_invalid);
}

TEST_F(GapiServiceTest, A401FetchesANewTokenOnce) {
  list();
  google_.answer(json_response(401, api_error(401, "Invalid Credentials", "authError")));
  EXPECT_FALSE(list().failed);
  EXPECT_EQ(google_.token_requests().size(), 2u);
  EXPECT_EQ(google_.api_requests().back().header("authorization"), "Bearer token-2");
  google_.answer(json_response(401, api_error(401, "Invalid Credentials", "authError")));
  google_.answer(json_response(401, api_error(401, "Invalid Credentials", "authError")));
  const CallReply reply = list();
  EXPECT_EQ(reply.error.status, 401);
  EXPECT_EQ(reply.error.message, "Invalid Credentials");
  EXPECT_FALSE(reply.error.retryable);
  EXPECT_EQ(google_.token_requests().size(), 3u);
}

TEST_F(GapiServiceTest, ACallEndsAtItsDeadlineThoughTheTokenIsStillAwaited) {
  google_.answer_token("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n");
  const CallReply reply = call(kList, kMine, "", 300);
  EXPECT_EQ(reply.error.errc, Errc::timeout);
}

// --- settings ---------------------------------------------------------------------------------------

TEST_F(GapiServiceTest, MissingSettingsSayHowToSetThem) {
  keystore_->erase("GAPI_ADMIN_EMAIL");
  CallReply reply = list();
  EXPECT_EQ(reply.error.errc, Errc::key_not_found);
  EXPECT_NE(reply.error.message.find("keystore set default GAPI_ADMIN_EMAIL"), std::string::npos);
  EXPECT_FALSE(call(kList, R"([{"userId":"u@a.test"}])").failed) << "it is not always needed";
  clock_.advance(std::chrono::seconds{6});
  keystore_->erase("GAPI_KEY");
  reply = list();
  EXPECT_EQ(reply.error.errc, Errc::key_not_found);
}

TEST_F(GapiServiceTest, AWrongKeyIsNamedWithoutAnyOfIt) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"canary not json", "not JSON"},
      {"[]", "no client_email"},
      {R"({"client_email":"canary"})", "no private_key"},
      {R"({"client_email":"canary","private_key":"canary"})", "no RSA key"}};
  for (const auto& [key, words] : cases) {
    keystore_->put("GAPI_KEY", key);
    clock_.advance(std::chrono::seconds{6});
    const CallReply reply = list();
    EXPECT_EQ(reply.error.errc, Errc::config_invalid);
    EXPECT_EQ(reply.error.message.find("canary"), std::string::npos) << reply.error.message;
    if (key != "[]") {
      EXPECT_NE(reply.error.message.find(words), std::string::npos) << reply.error.message;
    }
    EXPECT_FALSE(reply.error.retryable);
  }
  EXPECT_TRUE(google_.token_requests().empty());
}

TEST_F(GapiServiceTest, ARepairedKeyIsUsedAtOnceAfterItsTokenWasRefused) {
  google_.answer_token(json_response(400, R"({"error":"invalid_grant"})"));
  EXPECT_EQ(list().error.code, "invalid_grant");
  keystore_->put("GAPI_KEY", test::service_account_json(R"(,"quota_project_id":"p1")"));
  EXPECT_FALSE(list().failed);
  EXPECT_EQ(google_.api_requests().at(0).header("x-goog-user-project"), "p1");
}

TEST_F(GapiServiceTest, SettingsAreReadOnceInFiveSeconds) {
  for (int i = 0; i < 5; ++i) list();
  EXPECT_EQ(keystore_->reads(), 3);
  clock_.advance(std::chrono::seconds{5});
  list();
  EXPECT_EQ(keystore_->reads(), 6);
}

TEST_F(GapiServiceTest, AStoreThatIsAwayIsARetryableError) {
  keystore_->fail_with(Errc::unavailable);
  EXPECT_TRUE(list().error.retryable);
}

TEST_F(GapiServiceTest, AKeyStoredAsAJsonTextWorksToo) {
  keystore_->put("GAPI_KEY", json_string(test::service_account_json()));
  EXPECT_FALSE(list().failed);
}

// --- requests ---------------------------------------------------------------------------------------

TEST_F(GapiServiceTest, TheRequestIsWhatGooglesClientSends) {
  call("gmail.users.messages.get",
       R"([{"userId":"u@a.test","id":"17","format":"metadata","metadataHeaders":["From","To"]}])");
  const SeenRequest seen = google_.api_requests().at(0);
  EXPECT_EQ(seen.method, "GET");
  EXPECT_EQ(seen.target,
            "/_h/gmail.googleapis.com/gmail/v1/users/u%40a.test/messages/17?format=metadata&"
            "metadataHeaders=From&metadataHeaders=To");
  EXPECT_EQ(seen.body, "");
  EXPECT_FALSE(seen.header("content-type").has_value());
  EXPECT_FALSE(seen.header("content-length").has_value());
  EXPECT_FALSE(seen.header("x-goog-user-project").has_value());
  EXPECT_EQ(seen.header("x-idempotency-key"), "12:3");
  EXPECT_NE(seen.header("accept-encoding")->find("gzip"), std::string::npos);
  EXPECT_NE(seen.header("user-agent")->find("gzip"), std::string::npos);
}

TEST_F(GapiServiceTest, ABodyIsSentAsItCame) {
  call(kSend, R"([{"userId":"me","requestBody":{ "raw" : "x" }}])");
  const SeenRequest seen = google_.api_requests().at(0);
  EXPECT_EQ(seen.method, "POST");
  EXPECT_EQ(seen.header("content-type"), "application/json");
  EXPECT_EQ(seen.body, R"({ "raw" : "x" })");
}

TEST_F(GapiServiceTest, UnknownMethodsAndMissingParametersSendNothing) {
  const CallReply unknown = call("gmail.users.message.list", kMine);
  EXPECT_EQ(unknown.error.errc, Errc::unknown_method);
  EXPECT_NE(unknown.error.message.find("did you mean gmail.users.messages.list"),
            std::string::npos)
      << unknown.error.message;
  const CallReply missing = call("gmail.users.messages.get", kMine);
  EXPECT_EQ(missing.error.errc, Errc::invalid_arguments);
  EXPECT_EQ(missing.error.message, "Missing required parameters: id");
  EXPECT_EQ(call(kList, "[").error.errc, Errc::invalid_arguments);
  EXPECT_EQ(google_.server().requests().size(), 0u);
  EXPECT_EQ(keystore_->reads(), 0);
}

TEST_F(GapiServiceTest, TheRegistryTakesEveryMethodOfTheTable) {
  EXPECT_GE(service_->methods().size(), 300u);
  Registry registry;
  registry.add(service_);
  CallRequest request;
  request.service = "gapi";
  request.method = "drive.file.list";
  Waiting<CallReply> waiting;
  registry.call(std::move(request), waiting.take());
  EXPECT_NE(waiting.wait()->error.message.find("did you mean drive.files.list"),
            std::string::npos);
}

// --- answers ----------------------------------------------------------------------------------------

TEST_F(GapiServiceTest, TheAnswerIsReturnedByteForByte) {
  const std::string body = "{\n  \"b\": 1.0,\n  \"a\": 9007199254740993,\n  \"b\": \"\\u00e9\"\n}\n";
  google_.answer(json_response(200, body));
  EXPECT_EQ(list().result, body);
  google_.answer(json_response(200, gzip(body), {"Content-Encoding: gzip"}));
  EXPECT_EQ(list().result, body);
}

TEST_F(GapiServiceTest, NoContentIsAnEmptyText) {
  google_.answer(http_response(204, ""));
  EXPECT_EQ(call("gmail.users.messages.delete", R"([{"userId":"me","id":"1"}])").result, "\"\"");
  google_.answer(http_response(200, ""));
  EXPECT_EQ(list().result, "\"\"");
}

TEST_F(GapiServiceTest, AnAnswerThatIsNotJsonIsInvalid) {
  google_.answer(http_response(200, "<html>", {"Content-Type: text/html"}));
  EXPECT_EQ(list().error.errc, Errc::response_invalid);
  google_.answer(json_response(200, "{\"a\":"));
  EXPECT_EQ(list().error.errc, Errc::response_invalid);
}

TEST_F(GapiServiceTest, ContentComesAsTextOrAsBase64) {
  const std::string args = R"([{"fileId":"1","alt":"media"}])";
  google_.answer(http_response(200, "h\xC3\xA9\n", {"Content-Type: text/plain"}));
  EXPECT_EQ(call("drive.files.get", args).result, "\"hé\\n\"");
  EXPECT_TRUE(google_.api_requests().at(0).target.ends_with("/files/1?alt=media"));
  google_.answer(json_response(200, "{\"a\":1}"));
  EXPECT_EQ(call("drive.files.get", args).result, R"("{\"a\":1}")");
  google_.answer(http_response(200, "\xFF\xFE"));
  const CallReply bytes = call("drive.files.get", args);
  EXPECT_EQ(bytes.error.errc, Errc::response_invalid);
  EXPECT_NE(bytes.error.message.find("base64"), std::string::npos);
  google_.answer(http_response(200, "\xFF\xFE"));
  EXPECT_EQ(call("drive.files.get", R"([{"fileId":"1","alt":"media"},{"responseType":"base64"}])")
                .result,
            "\"//4=\"");
  google_.answer(http_response(200, "a,b", {"Content-Type: text/csv"}));
  EXPECT_EQ(call("drive.files.export", R"([{"fileId":"1","mimeType":"text/csv"}])").result,
            "\"a,b\"");
}

TEST_F(GapiServiceTest, ErrorsCarryWhatTheApiSaid) {
  const std::string body = api_error(404, "Requested entity was not found.", "notFound");
  google_.answer(json_response(404, body));
  const CallReply reply = list();
  ASSERT_TRUE(reply.failed);
  EXPECT_EQ(reply.error.errc, Errc::service_error);
  EXPECT_FALSE(reply.error.retryable);
  EXPECT_EQ(reply.error.to_json("gapi", kList),
            R"({"name":"HostCallError","message":"Requested entity was not found.","code":404,)"
            R"("status":404,"service":"gapi","method":"gmail.users.messages.list",)"
            R"("errors":[{"domain":"global","reason":"notFound"}]})");
}

TEST_F(GapiServiceTest, ErrorsInOtherFormsAreUnderstoodToo) {
  google_.answer(http_response(400, "<html>no</html>"));
  CallReply reply = list();
  EXPECT_EQ(reply.error.message, "gmail answered gmail.users.messages.list with status 400");
  EXPECT_EQ(reply.error.code, "400");
  google_.answer(json_response(400, R"({"error":"invalid_request","error_description":"why"})"));
  EXPECT_EQ(list().error.message, "invalid_request: why");
  google_.answer(json_response(400, R"({"error":{"code":400,"message":"m"}})"));
  EXPECT_EQ(list().error.errors, "");
}

TEST_F(GapiServiceTest, AnAnswerOverTheCapIsTooLarge) {
  GapiOptions options;
  options.endpoint = google_.endpoint();
  options.response_bytes_max = 1000;
  service_ = make_gapi_service(keystore_, *client_, options, clock_);
  google_.answer(json_response(200, "\"" + std::string(1000, 'x') + "\""));
  const CallReply reply = list();
  EXPECT_EQ(reply.error.errc, Errc::response_too_large);
  EXPECT_FALSE(reply.error.retryable);
}

// --- retries ----------------------------------------------------------------------------------------

TEST_F(GapiServiceTest, IdempotentVerbsAreRetriedOnPassingFaults) {
  for (const int status : {408, 429, 500, 502, 503}) {
    google_.answer(json_response(status, api_error(status, "later")));
    const std::size_t before = google_.api_requests().size();
    EXPECT_FALSE(list().failed) << status;
    EXPECT_EQ(google_.api_requests().size(), before + 2) << status;
  }
}

TEST_F(GapiServiceTest, ABrokenConnectionIsRetried) {
  list();
  google_.answer("");  // closes: libcurl itself sends a GET on a kept-alive connection once more
  google_.answer("");
  google_.answer("");
  EXPECT_FALSE(list().failed);
  EXPECT_EQ(google_.api_requests().size(), 5u);
  EXPECT_EQ(call(kSend, R"([{"userId":"me","requestBody":{}}])").failed, false);
  google_.answer("");
  const CallReply reply = call(kSend, R"([{"userId":"me","requestBody":{}}])");
  EXPECT_EQ(reply.error.errc, Errc::service_unavailable);
  EXPECT_FALSE(reply.error.retryable);
}

TEST_F(GapiServiceTest, AfterThreeRetriesTheErrorStandsAndIsRetryable) {
  for (int i = 0; i < 4; ++i) google_.answer(json_response(503, api_error(503, "away")));
  const CallReply reply = list();
  EXPECT_EQ(reply.error.status, 503);
  EXPECT_EQ(reply.error.message, "away");
  EXPECT_TRUE(reply.error.retryable) << "the durable attempts go on";
  EXPECT_EQ(google_.api_requests().size(), 4u);
  std::set<std::string> keys;
  for (const SeenRequest& each : google_.api_requests()) {
    keys.insert(each.header("x-idempotency-key").value());
  }
  EXPECT_EQ(keys.size(), 1u);
}

TEST_F(GapiServiceTest, RateLimitsOf403AreRetriedAndOther403AreNot) {
  for (const char* reason : {"rateLimitExceeded", "userRateLimitExceeded"}) {
    google_.answer(json_response(403, api_error(403, "slow down", reason)));
    EXPECT_FALSE(list().failed) << reason;
  }
  google_.answer(json_response(403, api_error(403, "no", "forbidden")));
  const CallReply reply = list();
  EXPECT_EQ(reply.error.status, 403);
  EXPECT_FALSE(reply.error.retryable);
}

TEST_F(GapiServiceTest, PostAndPatchAreNeverRetriedUnlessTheCallSaysItIsIdempotent) {
  const std::string args = R"([{"userId":"me","requestBody":{}}])";
  const std::string patch = R"([{"userId":"me","id":"1","requestBody":{}}])";
  google_.answer(json_response(503, api_error(503, "away")));
  CallReply reply = call(kSend, args);
  EXPECT_EQ(reply.error.status, 503);
  EXPECT_FALSE(reply.error.retryable);
  google_.answer(json_response(429, api_error(429, "later")));
  EXPECT_FALSE(call("gmail.users.labels.patch", patch).error.retryable);
  EXPECT_EQ(google_.api_requests().size(), 2u);
  google_.answer(json_response(503, api_error(503, "away")));
  EXPECT_FALSE(call(kSend, args, R"({"idempotent":true})").failed);
  google_.answer(json_response(503, api_error(503, "away")));
  EXPECT_FALSE(call(kSend, R"([{"userId":"me","requestBody":{}},{"idempotent":true}])").failed);
  EXPECT_EQ(google_.api_requests().size(), 6u);
}

TEST_F(GapiServiceTest, AtMostOnceIsSentOnce) {
  google_.answer(json_response(503, api_error(503, "away")));
  const CallReply reply = call(kList, kMine, R"({"delivery":"at_most_once"})");
  EXPECT_EQ(reply.error.status, 503);
  EXPECT_FALSE(reply.error.retryable);
  EXPECT_EQ(google_.api_requests().size(), 1u);
  google_.answer("");
  EXPECT_EQ(call(kSend, R"([{"userId":"me","requestBody":{}}])",
                 R"({"delivery":"at_most_once"})")
                .error.errc,
            Errc::outcome_unknown);
}

TEST_F(GapiServiceTest, RetryAfterIsHonoured) {
  google_.answer(json_response(429, api_error(429, "later"), {"Retry-After: 1"}));
  const MonoTime begin = system_clock().monotonic();
  EXPECT_FALSE(list().failed);
  EXPECT_GE(system_clock().monotonic() - begin, std::chrono::seconds{1});
}

TEST_F(GapiServiceTest, ALongRetryAfterIsLeftToTheDurableRetry) {
  google_.answer(json_response(429, api_error(429, "tomorrow"), {"Retry-After: 3600"}));
  const CallReply reply = list();
  EXPECT_TRUE(reply.error.retryable);
  EXPECT_EQ(reply.error.retry_after, Millis{3'600'000});
  EXPECT_EQ(google_.api_requests().size(), 1u);
}

TEST_F(GapiServiceTest, NoRetryGoesBeyondTheDeadline) {
  for (int i = 0; i < 4; ++i) google_.answer(json_response(503, api_error(503, "away")));
  const CallReply reply = call(kList, kMine, "", 250);
  EXPECT_TRUE(reply.failed);
  EXPECT_LE(google_.api_requests().size(), 2u);
}

TEST_F(GapiServiceTest, StoppingAnswersCallsThatPause) {
  google_.answer(json_response(503, api_error(503, "away"), {"Retry-After: 10"}));
  Waiting<CallReply> waiting;
  CallRequest request;
  request.method = kList;
  request.args = kMine;
  request.deadline = test::in_ms(60'000);
  service_->call(std::move(request), waiting.take());
  ASSERT_TRUE(google_.server().wait_requests(2));
  service_.reset();
  const auto reply = waiting.wait();
  ASSERT_TRUE(reply.has_value());
  EXPECT_TRUE(reply->failed);
}

// --- the default endpoint -----------------------------------------------------------------------------

TEST_F(GapiServiceTest, AKeysTokenUriAloneOpensNoPrivateAddress) {
  keystore_->put("GAPI_KEY",
                 R"({"client_email":"r","private_key":)" + json_string(test::private_key_pem()) +
                     R"(,"token_uri":")" + google_.server().url("/token") + "\"}");
  service_ = make_gapi_service(keystore_, *client_, GapiOptions{}, clock_);
  const CallReply reply = list();
  EXPECT_EQ(reply.error.errc, Errc::ssrf_denied);
  EXPECT_EQ(google_.server().connections(), 0);
}

}  // namespace
}  // namespace sequential::services
