// The gapi service with the real keystore against the offline Google Workspace of tools/: the calls
// of the Gmail search, faults on the way, and the ledger of what arrived.

#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "child.h"
#include "gapi_fixture.h"
#include "sequential/services/builtin.h"
#include "sequential/storage/sqlite.h"
#include "temp_dir.h"
#include "waiting.h"

namespace sequential::services {
namespace {

using Json = nlohmann::json;
using test::call_and_wait;
using test::Waiting;

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

class GapiWorkspaceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    workspace_ = std::make_unique<test::Child>(
        std::vector<std::string>{"node", OFFLINE_WORKSPACE, "--dir", dir_.path(), "--port", "0",
                                 "--ledger", dir_.file("ledger.jsonl")});
    const std::string line = workspace_->read_line();
    ASSERT_FALSE(line.empty()) << "the workspace did not start; npm ci --prefix "
                                  "tools/offline-workspace installs what it needs";
    ready_ = Json::parse(line);
    storage::SqliteOptions options;
    options.path = dir_.file("sequential.db");
    auto store = storage::open_sqlite(options, system_clock());
    ASSERT_TRUE(store.has_value()) << store.error().message;
    store_ = std::move(store).value();
    keystore_ = open_keystore(*store_, dir_.file("keystore.key")).value();
    set("GAPI_KEY", read_file(ready_["keyFile"]));
    set("GAPI_ADMIN_EMAIL", ready_["adminEmail"]);
    GapiOptions gapi;
    gapi.endpoint = ready_["endpoint"];
    service_ = make_gapi_service(keystore_, *client_, gapi, system_clock());
  }
  void set(const std::string& key, const std::string& value) {
    Waiting<Result<void>> waiting;
    keystore_->set("default", key, value, waiting.take());
    ASSERT_TRUE(waiting.wait()->has_value());
  }
  CallReply call(const std::string& method, const Json& params, const std::string& options = "") {
    return call_and_wait(*service_, method, Json::array({params}).dump(), options);
  }
  Json ok(const std::string& method, const Json& params) {
    const CallReply reply = call(method, params);
    EXPECT_FALSE(reply.failed) << method << ": " << reply.error.message;
    return reply.failed ? Json::object() : Json::parse(reply.result);
  }
  void control(const Json& document) {
    HttpRequest request;
    request.method = "POST";
    request.url = "http://127.0.0.1:" + std::to_string(ready_["port"].get<int>()) + "/_control";
    request.headers = {{"Content-Type", "application/json"}};
    request.body = document.dump();
    request.has_body = true;
    request.operator_trusted = true;
    const auto answer = test::send_and_wait(*client_, request);
    ASSERT_TRUE(answer.has_value() && answer.value().status < 300);
  }
  // The API requests that arrived, without those for tokens.
  std::vector<Json> ledger() {
    std::vector<Json> lines;
    std::istringstream text(read_file(dir_.file("ledger.jsonl")));
    for (std::string line; std::getline(text, line);) {
      const Json entry = Json::parse(line);
      if (entry["host"] != "oauth2.googleapis.com") lines.push_back(entry);
    }
    return lines;
  }
  std::vector<std::string> all_users() {
    std::vector<std::string> users;
    const Json domains = ok("admin.domains.list", {{"customer", "my_customer"}});
    const Json all_domains = domains.value("domains", Json::array());
    for (const Json& domain : all_domains) {
      Json params = {{"domain", domain["domainName"]}, {"maxResults", 2}};
      for (;;) {
        const Json page = ok("admin.users.list", params);
        const Json some = page.value("users", Json::array());
        for (const Json& user : some) users.push_back(user["primaryEmail"]);
        if (!page.contains("nextPageToken")) break;
        params["pageToken"] = page["nextPageToken"];
      }
    }
    return users;
  }

  test::TempDir dir_;
  std::unique_ptr<test::Child> workspace_;
  Json ready_;
  std::unique_ptr<storage::Store> store_;
  std::shared_ptr<Keystore> keystore_;
  std::unique_ptr<HttpClient> client_ = open_http_client({});
  std::shared_ptr<Service> service_;
};

TEST_F(GapiWorkspaceTest, TheGmailSearchFindsWhatIsThere) {
  const std::vector<std::string> users = all_users();
  EXPECT_EQ(users.size(), 15u);
  std::size_t found = 0, read = 0;
  for (const std::string& user : users) {
    const Json page = ok("gmail.users.messages.list",
                         {{"userId", user}, {"q", "subject:important"}, {"maxResults", 100}});
    const Json messages = page.value("messages", Json::array());
    for (const Json& message : messages) {
      ++found;
      const Json whole = ok("gmail.users.messages.get",
                            {{"userId", user},
                             {"id", message["id"]},
                             {"format", "metadata"},
                             {"metadataHeaders", {"Subject", "From"}}});
      read += whole["id"] == message["id"];
    }
  }
  EXPECT_EQ(found, 20u);
  EXPECT_EQ(read, found);
  for (const Json& line : ledger()) {
    EXPECT_EQ(line["status"], 200);
    EXPECT_EQ(line.value("x-idempotency-key", ""), "12:3");
  }
}

TEST_F(GapiWorkspaceTest, FaultsOnTheWayAreRetriedUnderOneKey) {
  const std::string user = all_users().front();
  const std::size_t before = ledger().size();
  control({{"failNext", {{"match", "/gmail/"}, {"status", 503}, {"count", 2}}}});
  ok("gmail.users.messages.list", {{"userId", user}});
  control({{"failNext",
            {{"match", "/gmail/"}, {"status", 403}, {"reason", "userRateLimitExceeded"}}}});
  ok("gmail.users.messages.list", {{"userId", user}});
  control({{"revokeTokens", true}});
  ok("gmail.users.messages.list", {{"userId", user}});
  const auto lines = ledger();
  ASSERT_EQ(lines.size(), before + 3 + 2 + 2);
  for (const Json& line : lines) EXPECT_EQ(line.value("x-idempotency-key", ""), "12:3");
}

TEST_F(GapiWorkspaceTest, WhatGoogleRefusesComesThroughInItsWords) {
  const CallReply missing =
      call("gmail.users.messages.get", {{"userId", all_users().front()}, {"id", "nope"}});
  ASSERT_TRUE(missing.failed);
  EXPECT_GE(missing.error.status, 400);
  EXPECT_LT(missing.error.status, 500);
  EXPECT_TRUE(missing.error.code_is_number);
  EXPECT_FALSE(missing.error.retryable);

  const CallReply stranger = call("gmail.users.messages.list", {{"userId", "nobody@else.test"}});
  ASSERT_TRUE(stranger.failed);
  EXPECT_FALSE(stranger.error.code.empty());
  EXPECT_NE(stranger.error.message.find(stranger.error.code + ": "), std::string::npos)
      << stranger.error.message;
}

TEST_F(GapiWorkspaceTest, AKeyThatIsNotItsOwnIsRefusedByItsSignature) {
  Json key = Json::parse(read_file(ready_["keyFile"]));
  key["private_key"] = test::private_key_pem();
  set("GAPI_KEY", key.dump());
  const CallReply reply = call("admin.domains.list", {{"customer", "my_customer"}});
  ASSERT_TRUE(reply.failed);
  EXPECT_EQ(reply.error.code, "invalid_grant") << reply.error.message;
  EXPECT_TRUE(ledger().empty());
}

TEST_F(GapiWorkspaceTest, AMessageCanBeSentAndFoundAgain) {
  const std::string user = all_users().front();
  const Json sent = ok("gmail.users.messages.send",
                       {{"userId", user},
                        {"media",
                         {{"mimeType", "message/rfc822"},
                          {"body", "To: " + user + "\r\nSubject: qzxv\r\n\r\nhello"}}}});
  EXPECT_TRUE(sent.contains("id"));
  const Json page = ok("gmail.users.messages.list", {{"userId", user}, {"q", "subject:qzxv"}});
  EXPECT_FALSE(page.value("messages", Json::array()).empty());
}

}  // namespace
}  // namespace sequential::services
