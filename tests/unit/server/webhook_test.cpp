// What stands in a webhook's address, names of signals, and the pages' escaping.

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "routes/webhook_page.h"
#include "work/signal_service.h"

namespace sequential::server {
namespace {

TEST(WebhookToken, IsOfOneLengthAndNeverTheSame) {
  std::set<std::string> tokens, keys;
  for (int i = 0; i < 200; ++i) {
    const std::string token = new_webhook_token();
    EXPECT_EQ(token.size(), 32u);
    EXPECT_TRUE(is_webhook_token(token)) << token;
    tokens.insert(token);
    keys.insert(webhook_key(token));
  }
  EXPECT_EQ(tokens.size(), 200u);
  EXPECT_EQ(keys.size(), 200u);
}

TEST(WebhookToken, NothingElseIsOne) {
  const std::string good(32, 'A');
  ASSERT_TRUE(is_webhook_token(good));
  EXPECT_FALSE(is_webhook_token(""));
  EXPECT_FALSE(is_webhook_token(good + "A"));
  EXPECT_FALSE(is_webhook_token(good.substr(1)));
  for (int c = 0; c < 256; ++c) {
    std::string text = good;
    text[7] = static_cast<char>(c);
    const bool known = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                       (c >= '0' && c <= '9') || c == '-' || c == '_';
    EXPECT_EQ(is_webhook_token(text), known) << c;
  }
}

TEST(WebhookToken, IsKnownByItsHashOnly) {
  const std::string token = new_webhook_token();
  EXPECT_EQ(webhook_key(token), webhook_key(token));
  EXPECT_EQ(webhook_key(token).find(token), std::string::npos);
  EXPECT_EQ(webhook_key(token).size(), 64u);
}

TEST(SignalName, IsShortAndPlain) {
  for (const char* good : {"go", "A.b_c-9", "0"}) EXPECT_TRUE(is_signal_name(good)) << good;
  for (const char* bad : {"", ".go", "a b", "webhook:1", "a\"", "ü"}) {
    EXPECT_FALSE(is_signal_name(bad)) << bad;
  }
  EXPECT_TRUE(is_signal_name(std::string(128, 'a')));
  EXPECT_FALSE(is_signal_name(std::string(129, 'a')));
}

TEST(WebhookPage, ShowsTextsAsTexts) {
  const HttpResponse page = ask_page({"<i>", "a & \"b\" 'c'\x01", {"\"><script>", "no"}});
  EXPECT_EQ(page.body.find("<i>"), std::string::npos);
  EXPECT_EQ(page.body.find("<script"), std::string::npos);
  EXPECT_NE(page.body.find("value=\"&quot;&gt;&lt;script&gt;\""), std::string::npos);
  EXPECT_NE(page.body.find("a &amp; &quot;b&quot; &#39;c&#39;</p>"), std::string::npos);
}

TEST(WebhookPage, WritesBase64) {
  EXPECT_EQ(base64_of(""), "");
  EXPECT_EQ(base64_of("\xff\xef"), "/+8=");
  EXPECT_EQ(base64_of("a"), "YQ==");
  EXPECT_EQ(base64_of("abc"), "YWJj");
}

}  // namespace
}  // namespace sequential::server
