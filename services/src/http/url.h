#pragma once
// URLs of outbound requests: parsed once, by libcurl's parser, and the very parse that was judged
// is what is connected to.
//
// Threads:  a Target belongs to one thread at a time; the rest is pure.
// Errors:   invalid_arguments for what is no http(s) URL; ssrf_denied for one that policy forbids.

#include <curl/curl.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sequential/base/error.h"

namespace sequential::services {

inline constexpr std::size_t kUrlBytesMax = 16 * 1024;

struct CurlUrlFree {
  void operator()(CURLU* url) const noexcept { curl_url_cleanup(url); }
};
using CurlUrl = std::unique_ptr<CURLU, CurlUrlFree>;

struct Target {
  CurlUrl url;         // what libcurl is given
  std::string text;    // the whole URL, normalised, without fragment
  std::string scheme;  // "http" or "https"
  std::string host;    // lower case, no brackets, no trailing dot
  int port = 0;
  // "https://host:port": requests of one origin share connections and credentials.
  std::string origin() const;
  // "host:port", for messages: never path or query, which may hold secrets.
  std::string place() const;
};

// Errors: invalid_arguments; ssrf_denied for other schemes, user information, backslashes and
// zones.
Result<Target> parse_url(std::string_view text);

// Where a redirect of `from` leads.
Result<Target> resolve_redirect(const Target& from, std::string_view location);

// Hosts that an operator opened though their address is not public or their port unusual.
class AllowList {
 public:
  // "host" (any port), "host:port", "*.domain", "[v6]:port". Entries that are none match nothing.
  // `ports` may be reached on every host whose address is public.
  explicit AllowList(const std::vector<std::string>& patterns, std::vector<int> ports = {80, 443});
  bool contains(std::string_view host, int port) const;
  const std::vector<int>& ports() const { return ports_; }

 private:
  struct Pattern {
    std::string host;
    int port = 0;  // 0: any
    bool subdomains = false;
  };
  std::vector<Pattern> patterns_;
  std::vector<int> ports_;
};

// Whether task code may ask for this target as far as its text tells; the address is judged when
// it is connected to. Errors: ssrf_denied.
Result<void> judge_target(const Target& target, const AllowList& allowed);

}  // namespace sequential::services
