// URLs of outbound requests: what is parsed, what is refused, and why.

#include "http/url.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace sequential::services {
namespace {

Errc judged(const std::string& url, const std::vector<std::string>& allow = {}) {
  const auto target = parse_url(url);
  if (target.has_error()) return target.error().code;
  const auto verdict = judge_target(target.value(), AllowList(allow));
  return verdict.has_error() ? verdict.error().code : Errc{};
}
constexpr Errc kFine{};

TEST(UrlTest, TakesOrdinaryUrls) {
  for (const char* url :
       {"http://example.com", "https://example.com/", "https://example.com/a?b=c#d",
        "HTTPS://EXAMPLE.com:443/x", "http://8.8.8.8/", "https://[2606:4700::1111]/",
        "https://example.com/a%20b?q=%27", "https://xn--bcher-kva.example/", "https://example.com./"}) {
    EXPECT_EQ(judged(url), kFine) << url;
  }
}

TEST(UrlTest, NormalisesOnce) {
  const auto target = parse_url("HTTP://Example.COM.:80/a/../b c?x#frag").value();
  EXPECT_EQ(target.scheme, "http");
  EXPECT_EQ(target.host, "example.com");
  EXPECT_EQ(target.port, 80);
  EXPECT_EQ(target.origin(), "http://example.com:80");
  EXPECT_EQ(target.text.find('#'), std::string::npos);
  EXPECT_NE(target.text.find("/b%20c"), std::string::npos) << target.text;
}

TEST(UrlTest, RefusesWhatIsNoUrl) {
  for (const char* url : {"", "example.com", "/path", "http://", "http://a b/",
                          "http://a\nb/", "http://a:99999/", "http://a:x/", "https://[::1/",
                          "http://\x7f/"}) {
    EXPECT_EQ(judged(url), Errc::invalid_arguments) << url;
  }
  EXPECT_EQ(judged("http://a/" + std::string(kUrlBytesMax, 'x')), Errc::invalid_arguments);
}

TEST(UrlTest, DeniesOtherSchemes) {
  for (const char* url : {"file:///etc/passwd", "ftp://example.com/", "gopher://example.com/",
                          "dict://example.com/", "ldap://example.com/", "smb://example.com/x",
                          "javascript://example.com/", "ws://example.com/"}) {
    EXPECT_EQ(judged(url), Errc::ssrf_denied) << url;
  }
}

TEST(UrlTest, DeniesUserInformationBackslashesAndZones) {
  for (const char* url :
       {"http://user@example.com/", "http://user:pass@example.com/", "http://:p@example.com/",
        "http://example.com\\@127.0.0.1/", "http:\\\\example.com/", "http://example.com\\/x",
        "http://[fe80::1%25eth0]/", "https://example.com@evil.test/", "http://bücher.example/", "http://１２７.0.0.1/",
        "http://127。0。0。1/", "http://%EF%BC%91.0.0.1/", "http://%31%32/"}) {
    EXPECT_EQ(judged(url), Errc::ssrf_denied) << url;
  }
  // In a query a backslash means nothing.
  EXPECT_EQ(judged("http://example.com/?q=a\\b"), kFine);
}

TEST(UrlTest, DeniesOtherPorts) {
  for (const char* url : {"http://example.com:22/", "https://example.com:8443/",
                          "http://example.com:6379/", "http://example.com:25/"}) {
    EXPECT_EQ(judged(url), Errc::ssrf_denied) << url;
  }
  EXPECT_EQ(judged("http://example.com:443/"), kFine);
}

TEST(UrlTest, DeniesLiteralAddressesThatAreNotPublicInEverySpelling) {
  for (const char* url :
       {"http://127.0.0.1/", "http://127.1/", "http://2130706433/", "http://0x7f000001/",
        "http://0177.0.0.1/", "http://0x7f.1/", "http://127.0.0.1./", "http://0/",
        "http://169.254.169.254/latest/meta-data", "http://10.0.0.1/", "http://192.168.1.1/",
        "http://172.16.0.1/", "http://100.64.1.1/", "http://[::1]/", "http://[::]/",
        "http://[::ffff:127.0.0.1]/", "http://[::ffff:8.8.8.8]/", "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::]/", "http://[fc00::1]/", "http://[fe80::1]/",
        "http://[2001:db8::1]/", "http://224.0.0.1/", "http://255.255.255.255/",
        "http://%31%32%37.0.0.1/"}) {
    EXPECT_EQ(judged(url), Errc::ssrf_denied) << url;
  }
}

TEST(UrlTest, TheMessageTellsTheOperatorWhatToOpen) {
  const auto target = parse_url("http://10.1.2.3:9000/secret-path?token=1").value();
  const std::string message = judge_target(target, AllowList({})).error().message;
  EXPECT_NE(message.find("10.1.2.3:9000"), std::string::npos) << message;
  EXPECT_NE(message.find("services.http.allow_hosts"), std::string::npos) << message;
  EXPECT_EQ(message.find("token"), std::string::npos) << message;
}

TEST(AllowListTest, OpensHostsPortsDomainsAndAddresses) {
  const AllowList list({"internal", "db.test:5000", "*.corp.test", "[fd00::1]:80", "::1",
                        "10.0.0.5", "bad:port", ""});
  EXPECT_TRUE(list.contains("internal", 80));
  EXPECT_TRUE(list.contains("internal", 9999));
  EXPECT_TRUE(list.contains("db.test", 5000));
  EXPECT_FALSE(list.contains("db.test", 80));
  EXPECT_TRUE(list.contains("a.corp.test", 80));
  EXPECT_TRUE(list.contains("a.b.corp.test", 80));
  EXPECT_FALSE(list.contains("corp.test", 80));
  EXPECT_FALSE(list.contains("evilcorp.test", 80));
  EXPECT_TRUE(list.contains("fd00::1", 80));
  EXPECT_FALSE(list.contains("fd00::1", 81));
  EXPECT_TRUE(list.contains("::1", 7));
  EXPECT_TRUE(list.contains("10.0.0.5", 7));
  EXPECT_FALSE(list.contains("bad", 80));
  EXPECT_FALSE(list.contains("", 80));
  EXPECT_EQ(judged("http://INTERNAL.:1234/", {"internal"}), kFine);
}

TEST(RedirectTest, ResolvesAgainstWhereItCameFrom) {
  const auto from = parse_url("https://example.com/a/b?x=1").value();
  EXPECT_EQ(resolve_redirect(from, "c").value().text, "https://example.com/a/c");
  EXPECT_EQ(resolve_redirect(from, "/c?y#z").value().text, "https://example.com/c?y");
  EXPECT_EQ(resolve_redirect(from, "//other.test/p").value().host, "other.test");
  EXPECT_EQ(resolve_redirect(from, "http://other.test/").value().scheme, "http");
  EXPECT_EQ(resolve_redirect(from, "file:///etc/passwd").error().code, Errc::ssrf_denied);
  EXPECT_EQ(resolve_redirect(from, "http://u:p@other.test/").error().code, Errc::ssrf_denied);
  EXPECT_EQ(resolve_redirect(from, "/a\r\nSet-Cookie: x").error().code, Errc::invalid_arguments);
}

}  // namespace
}  // namespace sequential::services
