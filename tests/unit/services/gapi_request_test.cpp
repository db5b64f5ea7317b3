// The table of facts, the requests made from it, and the scopes asked for: gapi without a network.

#include "gapi/request.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "gapi/facts.h"
#include "gapi/retry.h"
#include "gapi/scopes.h"

namespace sequential::services::gapi {
namespace {

using Json = nlohmann::json;
constexpr const char* kEndpoint = "https://{host}";

const MethodFacts& method(std::string_view name) {
  const MethodFacts* found = find_method(name);
  EXPECT_NE(found, nullptr) << name;
  return *found;
}

HttpRequest build(std::string_view name, std::string_view params) {
  auto request = build_request(method(name), params, kEndpoint);
  EXPECT_TRUE(request.has_value()) << request.error().message;
  return request.has_value() ? std::move(request).value() : HttpRequest{};
}
std::string url(std::string_view name, std::string_view params) { return build(name, params).url; }
std::string refusal(std::string_view name, std::string_view params) {
  const auto request = build_request(method(name), params, kEndpoint);
  EXPECT_TRUE(request.has_error()) << request.value().url;
  if (request.has_value()) return {};
  EXPECT_EQ(request.error().code, Errc::invalid_arguments);
  return request.error().message;
}
std::string header_of(const HttpRequest& request, std::string_view name) {
  for (const auto& [each, value] : request.headers) {
    if (each == name) return value;
  }
  return "(none)";
}
Json facts_file() {
  std::ifstream in(GOOGLE_APIS_JSON);
  return Json::parse(in, nullptr, false);
}

// --- the table --------------------------------------------------------------------------------------

TEST(GapiFactsTest, EveryMethodOfTheFileIsInTheTableAsItStandsThere) {
  const Json file = facts_file();
  ASSERT_TRUE(file.is_object());
  std::size_t count = 0;
  for (const auto& [api_name, api] : file.items()) {
    for (const auto& [name, row] : api.at("m").items()) {
      const MethodFacts& facts = method(api_name + "." + name);
      ++count;
      EXPECT_EQ(facts.verb, row[0].get<std::string>());
      EXPECT_EQ(facts.path, api["svc"].get<std::string>() + row[1].get<std::string>());
      EXPECT_EQ(Json(std::vector<std::string>(path_params(facts).begin(),
                                              path_params(facts).end())),
                row[2]);
      ASSERT_EQ(query_params(facts).size(), row[3].size());
      for (const QueryFacts& query : query_params(facts)) {
        const auto type = row[3].at(std::string(query.name)).get<std::string>();
        EXPECT_EQ(query.required, type.ends_with('!')) << name << query.name;
      }
      EXPECT_EQ(facts.has_body, row[4] == 1);
      ASSERT_EQ(scope_count(facts), row[5].size());
      for (std::size_t i = 0; i < scope_count(facts); ++i) {
        std::string scope = api["scopes"][row[5][i].get<std::size_t>()].get<std::string>();
        if (scope[0] == '~') scope = "https://www.googleapis.com/auth/" + scope.substr(1);
        EXPECT_EQ(scope_at(facts, i), scope);
      }
      EXPECT_EQ(facts.upload, row.size() > 6 && row[6].is_string() ? row[6].get<std::string>() : "");
      EXPECT_EQ(facts.download, row.size() > 7);
      EXPECT_EQ("https://" + std::string(api_of(facts).host) + "/", api["root"].get<std::string>());
    }
  }
  EXPECT_EQ(count, all_methods().size());
  EXPECT_GE(count, 300u);
}

TEST(GapiFactsTest, MethodNamesAreCaseSensitive) {
  EXPECT_NE(find_method("gmail.users.settings.sendAs.list"), nullptr);
  EXPECT_EQ(find_method("gmail.users.settings.sendas.list"), nullptr);
  EXPECT_EQ(find_method(""), nullptr);
  EXPECT_EQ(find_method("gmail"), nullptr);
}

TEST(GapiRequestTest, EveryMethodBuildsARequest) {
  for (const MethodFacts& facts : all_methods()) {
    Json params = Json::object();
    for (const std::string_view name : path_params(facts)) params[std::string(name)] = "v/1 x";
    for (const QueryFacts& query : query_params(facts)) params[std::string(query.name)] = "q";
    if (facts.has_body) params["requestBody"] = {{"a", 1}};
    const auto request = build_request(facts, params.dump(), kEndpoint);
    ASSERT_TRUE(request.has_value()) << facts.name << ": " << request.error().message;
    EXPECT_EQ(request.value().method, facts.verb);
    EXPECT_EQ(request.value().url.find_first_of("{} "), std::string::npos) << request.value().url;
    EXPECT_EQ(request.value().has_body, facts.has_body) << facts.name;
    EXPECT_TRUE(choose_scopes(facts, {}).has_value()) << facts.name;
    if (!facts.upload.empty()) {
      params["media"] = {{"mimeType", "text/plain"}, {"body", "x"}};
      const auto upload = build_request(facts, params.dump(), kEndpoint);
      ASSERT_TRUE(upload.has_value());
      EXPECT_NE(upload.value().url.find("/upload/"), std::string::npos);
    }
  }
}

TEST(GapiRequestTest, EveryMethodNamesAllItsMissingParameters) {
  for (const MethodFacts& facts : all_methods()) {
    std::string expected;
    for (const std::string_view name : path_params(facts)) {
      expected += (expected.empty() ? "" : ", ") + std::string(name);
    }
    for (const QueryFacts& query : query_params(facts)) {
      if (query.required) expected += (expected.empty() ? "" : ", ") + std::string(query.name);
    }
    if (expected.empty()) continue;
    EXPECT_EQ(refusal(facts.name, "{}"), "Missing required parameters: " + expected);
  }
}

// --- paths ------------------------------------------------------------------------------------------

TEST(GapiRequestTest, PathParametersAreEncodedLikeGooglesClientDoes) {
  EXPECT_EQ(url("gmail.users.messages.get", R"({"userId":"me","id":"17c"})"),
            "https://gmail.googleapis.com/gmail/v1/users/me/messages/17c");
  EXPECT_EQ(url("gmail.users.messages.get", R"({"userId":"a+b@c.test","id":"x/y?z#!'()*~-_. ü"})"),
            "https://gmail.googleapis.com/gmail/v1/users/a%2Bb%40c.test/messages/"
            "x%2Fy%3Fz%23%21%27%28%29%2A~-_.%20%C3%BC");
  EXPECT_EQ(url("drive.files.get", R"({"fileId":12345})"),
            "https://www.googleapis.com/drive/v3/files/12345");
}

TEST(GapiRequestTest, ReservedExpansionKeepsSlashes) {
  EXPECT_EQ(url("people.people.get", R"({"resourceName":"people/c1?x","personFields":"names"})"),
            "https://people.googleapis.com/v1/people/c1%3Fx?personFields=names");
  EXPECT_EQ(url("admin.orgunits.get", R"({"customerId":"my_customer","orgUnitPath":"a b/c"})"),
            "https://admin.googleapis.com/admin/directory/v1/customer/my_customer/orgunits/a%20b/c");
}

TEST(GapiRequestTest, StepsThroughTheTreeAreRefused) {
  for (const char* id : {".", ".."}) {
    const std::string params = R"({"userId":"me","id":")" + std::string(id) + "\"}";
    EXPECT_NE(refusal("gmail.users.messages.get", params).find("\"..\""), std::string::npos);
  }
  EXPECT_NE(refusal("people.people.get", R"({"resourceName":"people/../x"})").find("\"..\""),
            std::string::npos);
  EXPECT_EQ(url("gmail.users.messages.get", R"({"userId":"me","id":"..."})"),
            "https://gmail.googleapis.com/gmail/v1/users/me/messages/...");
}

TEST(GapiRequestTest, AMissingParameterFailsLocally) {
  EXPECT_EQ(refusal("gmail.users.messages.get", R"({"userId":"me"})"),
            "Missing required parameters: id");
  EXPECT_EQ(refusal("gmail.users.messages.get", ""), "Missing required parameters: userId, id");
  EXPECT_EQ(refusal("gmail.users.messages.get", R"({"userId":"","id":null})"),
            "Missing required parameters: userId, id");
  EXPECT_EQ(refusal("drive.files.export", R"({"fileId":"1"})"),
            "Missing required parameters: mimeType");
  EXPECT_NE(refusal("gmail.users.messages.get", R"({"userId":"me","id":{"a":1}})").find("id"),
            std::string::npos);
  EXPECT_NE(refusal("gmail.users.messages.get", R"("me")").find("object"), std::string::npos);
}

// --- queries ----------------------------------------------------------------------------------------

TEST(GapiRequestTest, QueriesAreWrittenLikeGooglesClientDoes) {
  const std::string base = "https://gmail.googleapis.com/gmail/v1/users/me/messages";
  EXPECT_EQ(url("gmail.users.messages.list", R"({"userId":"me"})"), base);
  EXPECT_EQ(url("gmail.users.messages.list",
                R"({"userId":"me","q":"subject:important \"a b\"","maxResults":10})"),
            base + "?q=subject%3Aimportant%20%22a%20b%22&maxResults=10");
  EXPECT_EQ(url("gmail.users.messages.list", R"({"userId":"me","q":""})"), base + "?q=")
      << "empty texts stay";
  EXPECT_EQ(url("gmail.users.messages.list", R"({"userId":"me","labelIds":["INBOX","A B"]})"),
            base + "?labelIds=INBOX&labelIds=A%20B");
  EXPECT_EQ(url("gmail.users.messages.list", R"({"userId":"me","labelIds":[]})"), base)
      << "empty lists vanish";
  EXPECT_EQ(url("gmail.users.messages.list",
                R"({"includeSpamTrash":true,"userId":"me","x":false,"n":1.5,"z":null})"),
            base + "?includeSpamTrash=true&x=false&n=1.5&z=");
  EXPECT_EQ(url("gmail.users.messages.list", R"({"userId":"me","q":"+&=#!'()*"})"),
            base + "?q=%2B%26%3D%23%21%27%28%29%2A");
  EXPECT_EQ(url("drive.files.list", R"j({"fields":"files(id,name)","alt":"media"})j"),
            "https://www.googleapis.com/drive/v3/files?fields=files%28id%2Cname%29&alt=media");
}

TEST(GapiRequestTest, NumbersAreWrittenLikeJavaScriptDoes) {
  const auto query = [](const char* number) {
    const std::string text =
        url("drive.files.list", "{\"pageSize\":" + std::string(number) + "}");
    return text.substr(text.find('=') + 1);
  };
  EXPECT_EQ(query("100"), "100");
  EXPECT_EQ(query("100.0"), "100");
  EXPECT_EQ(query("1e3"), "1000");
  EXPECT_EQ(query("-0"), "0");
  EXPECT_EQ(query("-7"), "-7");
  EXPECT_EQ(query("9007199254740993"), "9007199254740993");
}

TEST(GapiRequestTest, ValuesThatNoQueryCanHoldAreRefused) {
  for (const char* params : {R"({"userId":"me","q":{"a":1}})", R"({"userId":"me","q":[["a"]]})"}) {
    EXPECT_NE(refusal("gmail.users.messages.list", params).find("parameter q"), std::string::npos);
  }
}

TEST(GapiRequestTest, MembersThatAreNoParametersStayOutOfTheQuery) {
  const HttpRequest request = build(
      "gmail.users.messages.modify",
      R"({"userId":"me","id":"1","auth":"x","requestBody":{},"headers":{"If-Match":"e"}})");
  EXPECT_EQ(request.url, "https://gmail.googleapis.com/gmail/v1/users/me/messages/1/modify");
  EXPECT_EQ(header_of(request, "If-Match"), "e");
  for (const char* name : {"Authorization", "content-type", "Host", "x-goog-user-project"}) {
    refusal("gmail.users.messages.list",
            R"({"userId":"me","headers":{")" + std::string(name) + R"(":"x"}})");
  }
}

// --- bodies -----------------------------------------------------------------------------------------

TEST(GapiRequestTest, TheBodyIsSentByteForByte) {
  const std::string body = R"({ "z":1.0, "a":[9007199254740993], "é":"\u00e9" })";
  for (const char* name : {"requestBody", "resource"}) {
    const HttpRequest request = build("gmail.users.labels.create",
                                      "{\"userId\":\"me\",\"" + std::string(name) + "\":" + body +
                                          "}");
    EXPECT_EQ(request.body, body);
    EXPECT_EQ(header_of(request, "Content-Type"), "application/json");
  }
}

TEST(GapiRequestTest, WithoutABodyThereIsNoContentType) {
  const HttpRequest request = build("gmail.users.messages.trash", R"({"userId":"me","id":"1"})");
  EXPECT_FALSE(request.has_body);
  EXPECT_TRUE(request.headers.empty());
  EXPECT_NE(refusal("gmail.users.messages.list", R"({"userId":"me","requestBody":{}})")
                .find("takes no requestBody"),
            std::string::npos);
}

TEST(GapiRequestTest, MediaWithABodyIsMultipartRelatedWithTheJsonFirst) {
  const HttpRequest request = build(
      "drive.files.create",
      R"({"requestBody":{"name":"a"},"media":{"mimeType":"text/csv","body":"x,y"},"fields":"id"})");
  EXPECT_EQ(request.url,
            "https://www.googleapis.com/upload/drive/v3/files?fields=id&uploadType=multipart");
  const std::string type = header_of(request, "Content-Type");
  ASSERT_TRUE(type.starts_with("multipart/related; boundary=")) << type;
  const std::string boundary = type.substr(type.find('=') + 1);
  EXPECT_EQ(request.body, "--" + boundary +
                              "\r\nContent-Type: application/json\r\n\r\n{\"name\":\"a\"}\r\n--" +
                              boundary + "\r\nContent-Type: text/csv\r\n\r\nx,y\r\n--" + boundary +
                              "--");
  EXPECT_EQ(type.find(header_of(build("drive.files.create",
                                      R"({"requestBody":{},"media":{"body":"x"}})"),
                                "Content-Type")
                          .substr(28)),
            std::string::npos)
      << "boundaries differ";
}

TEST(GapiRequestTest, MediaAloneIsTheBody) {
  const HttpRequest request =
      build("gmail.users.messages.send",
            R"({"userId":"me","media":{"mimeType":"message/rfc822","bodyBase64":"AP8="}})");
  EXPECT_EQ(request.url,
            "https://gmail.googleapis.com/upload/gmail/v1/users/me/messages/send?uploadType=media");
  EXPECT_EQ(request.body, std::string("\0\xFF", 2));
  EXPECT_EQ(header_of(request, "Content-Type"), "message/rfc822");
  EXPECT_EQ(header_of(build("drive.files.create", R"({"media":{"body":"x"}})"), "Content-Type"),
            "text/plain");
}

TEST(GapiRequestTest, WrongMediaIsRefused) {
  for (const char* media : {R"("x")", R"({})", R"({"body":{}})", R"({"bodyBase64":"*"})",
                            R"({"body":"x","mimeType":5})", R"({"body":"x","mimeType":"a\r\nb"})"}) {
    EXPECT_NE(
        refusal("drive.files.create", "{\"media\":" + std::string(media) + "}").find("media"),
        std::string::npos)
        << media;
  }
  EXPECT_NE(refusal("drive.files.copy", R"({"fileId":"1","media":{"body":"x"}})")
                .find("takes no media"),
            std::string::npos);
}

// --- endpoint, options ------------------------------------------------------------------------------

TEST(GapiRequestTest, TheEndpointTemplateMovesEveryHost) {
  const auto request = build_request(method("calendar.events.list"), R"({"calendarId":"primary"})",
                                     "http://127.0.0.1:9000/_h/{host}");
  EXPECT_EQ(request.value().url,
            "http://127.0.0.1:9000/_h/www.googleapis.com/calendar/v3/calendars/primary/events");
  EXPECT_EQ(fill_host("http://x/", "h"), "http://x");
}

TEST(GapiRequestTest, OptionsComeFromTheArgumentOrTheCall) {
  const auto first = read_options(R"({"subject":"a@b","scopes":["s","t"],"responseType":"base64"})",
                                  R"({"subject":"c@d"})");
  EXPECT_EQ(first.value().subject, "a@b");
  EXPECT_EQ(first.value().scopes, (std::vector<std::string>{"s", "t"}));
  EXPECT_TRUE(first.value().as_base64);
  const auto second = read_options("", R"({"subject":"c@d","scopes":"s t","timeoutMs":5})");
  EXPECT_EQ(second.value().subject, "c@d");
  EXPECT_EQ(second.value().scopes, (std::vector<std::string>{"s", "t"}));
  for (const char* wrong : {R"({"subject":5})", R"({"subject":""})", R"({"scopes":[]})",
                            R"({"scopes":7})", R"({"responseType":"stream"})"}) {
    EXPECT_TRUE(read_options(wrong, "").has_error()) << wrong;
  }
}

TEST(GapiRequestTest, OnlyGmailsUserIdWithAnAtNamesTheSubject) {
  EXPECT_EQ(gmail_user(method("gmail.users.messages.list"), R"({"userId":"a@b.test"})"), "a@b.test");
  EXPECT_EQ(gmail_user(method("gmail.users.messages.list"), R"({"userId":"me"})"), "");
  EXPECT_EQ(gmail_user(method("admin.users.get"), R"({"userKey":"a@b.test","userId":"a@b"})"), "");
}

// --- scopes -----------------------------------------------------------------------------------------

std::vector<std::string> scopes(std::string_view name,
                                const std::vector<std::string>& authorised = {}) {
  auto chosen = choose_scopes(method(name), authorised);
  EXPECT_TRUE(chosen.has_value()) << chosen.error().message;
  auto list = chosen.has_value() ? std::move(chosen).value() : std::vector<std::string>{};
  for (std::string& each : list) {
    if (each.starts_with("https://www.googleapis.com/auth/")) each = each.substr(32);
  }
  return list;
}
using Scopes = std::vector<std::string>;

TEST(GapiScopesTest, TheSeedsMethodsAskForWhatTheSeedsAskFor) {
  const Scopes directory = {"admin.directory.domain.readonly", "admin.directory.user.readonly"};
  EXPECT_EQ(scopes("admin.domains.list"), directory);
  EXPECT_EQ(scopes("admin.users.list"), directory);
  EXPECT_EQ(scopes("gmail.users.messages.list"), Scopes{"gmail.readonly"});
  EXPECT_EQ(scopes("gmail.users.messages.get"), Scopes{"gmail.readonly"});
}

TEST(GapiScopesTest, ReadingAsksForReadonlyAndNeverForAddons) {
  EXPECT_EQ(scopes("drive.files.list"), Scopes{"drive.readonly"});
  EXPECT_EQ(scopes("calendar.events.list"), Scopes{"calendar.readonly"});
  EXPECT_EQ(scopes("gmail.users.labels.list"), Scopes{"gmail.readonly"});
  EXPECT_EQ(scopes("sheets.spreadsheets.values.get"), Scopes{"drive.readonly"});
  for (const MethodFacts& facts : all_methods()) {
    const auto chosen = choose_scopes(facts, {}).value();
    bool has_readonly = false;
    for (std::size_t i = 0; i < scope_count(facts); ++i) {
      has_readonly = has_readonly || (scope_at(facts, i).ends_with(".readonly") &&
                                      scope_at(facts, i).find(".addons.") == std::string_view::npos);
    }
    for (const std::string& scope : chosen) {
      EXPECT_EQ(scope.find(".addons."), std::string::npos) << facts.name;
      if (facts.verb == "GET" && has_readonly) {
        EXPECT_TRUE(scope.ends_with(".readonly")) << facts.name << scope;
      }
    }
  }
}

TEST(GapiScopesTest, WritingAsksForTheBroadestThatIsAuthorised) {
  EXPECT_EQ(scopes("gmail.users.messages.send"), Scopes{"https://mail.google.com/"});
  EXPECT_EQ(scopes("drive.files.create"), Scopes{"drive"});
  EXPECT_EQ(scopes("drive.files.create", {"https://www.googleapis.com/auth/drive.file",
                                          "https://www.googleapis.com/auth/drive.appdata"}),
            Scopes{"drive.file"});
  EXPECT_EQ(scopes("drive.files.list", {"https://www.googleapis.com/auth/drive"}), Scopes{"drive"})
      << "without a readonly one, the broadest";
  const auto none = choose_scopes(method("drive.files.create"),
                                  {"https://www.googleapis.com/auth/gmail.readonly"});
  EXPECT_EQ(none.error().code, Errc::forbidden);
  EXPECT_NE(none.error().message.find("GAPI_SCOPES"), std::string::npos);
}

TEST(GapiScopesTest, ListsComeInAnyForm) {
  const Scopes both = {"a", "b"};
  EXPECT_EQ(split_scopes("a b"), both);
  EXPECT_EQ(split_scopes(" a,\nb;"), both);
  EXPECT_EQ(split_scopes(R"(["a","b"])"), both);
  EXPECT_TRUE(split_scopes("").empty());
}

// --- retries ----------------------------------------------------------------------------------------

TEST(GapiRetryTest, PausesGrow) {
  EXPECT_EQ(retry_pause(1, 0.0), Millis{100});
  EXPECT_EQ(retry_pause(2, 0.0), Millis{300});
  EXPECT_EQ(retry_pause(3, 0.0), Millis{900});
  EXPECT_EQ(retry_pause(1, 1.0), Millis{200});
  EXPECT_LT(random01(), 1.0);
}

TEST(GapiRetryTest, RetryAfterIsSecondsOrADate) {
  const WallTime now{1'800'000'000'000};
  const auto asked = [&](const std::string& value) {
    HttpResponse response;
    response.headers = {{"retry-after", value}};
    return retry_after(response, now);
  };
  EXPECT_EQ(asked("3"), Millis{3000});
  EXPECT_EQ(asked("0"), Millis{0});
  EXPECT_EQ(asked("Fri, 15 Jan 2027 08:00:10 GMT"), Millis{10'000});
  EXPECT_EQ(asked("Fri, 15 Jan 2021 08:00:10 GMT"), Millis{0});
  EXPECT_EQ(asked("99999999"), Millis{24 * 3'600'000});
  EXPECT_FALSE(asked("soon").has_value());
  EXPECT_FALSE(retry_after(HttpResponse{}, now).has_value());
}

TEST(GapiRetryTest, RetryableStatuses) {
  const std::set<int> retryable = {408, 429, 500, 501, 502, 503, 504, 599};
  for (int status = 200; status < 600; ++status) {
    EXPECT_EQ(is_retryable_status(status), retryable.contains(status) || status >= 500) << status;
  }
}

}  // namespace
}  // namespace sequential::services::gapi
