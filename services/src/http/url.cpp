#include "http/url.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "http/address.h"
#include "sequential/base/json_text.h"

namespace sequential::services {
namespace {

// Spaces in paths and queries are encoded, as browsers do.
constexpr unsigned kParseFlags =
    CURLU_DISALLOW_USER | CURLU_URLENCODE | CURLU_ALLOW_SPACE | CURLU_NON_SUPPORT_SCHEME;

struct CurlFree {
  void operator()(char* text) const noexcept { curl_free(text); }
};

std::string part(CURLU* url, CURLUPart which, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url, which, &text, flags) != CURLUE_OK || text == nullptr) return {};
  const std::unique_ptr<char, CurlFree> owner(text);
  return text;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

// One form per host: lower case, no brackets, no trailing dot.
std::string normal_host(std::string_view host) {
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  if (host.ends_with('.')) host.remove_suffix(1);
  return lower(host);
}

Error refuse(Errc code, std::string message) { return {code, std::move(message), "url"}; }

Result<void> check_text(std::string_view text) {
  if (text.empty()) return refuse(Errc::invalid_arguments, "the URL is empty");
  if (text.size() > kUrlBytesMax) {
    return refuse(Errc::invalid_arguments,
                  "the URL is longer than " + std::to_string(kUrlBytesMax) + " bytes");
  }
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      return refuse(Errc::invalid_arguments, "the URL holds a control character");
    }
  }
  // Parsers disagree about backslashes; a URL that two parsers read differently is an attack.
  const auto authority_end = std::min(text.find_first_of("?#"), text.size());
  if (text.substr(0, authority_end).find('\\') != std::string_view::npos) {
    return refuse(Errc::ssrf_denied, "the URL holds a backslash; write it as %5C");
  }
  return success();
}

Result<Target> finish(CurlUrl url, CURLUcode code) {
  if (code == CURLUE_USER_NOT_ALLOWED) {
    return refuse(Errc::ssrf_denied,
                  "the URL holds a user name or password; send an Authorization header instead");
  }
  if (code != CURLUE_OK) {
    return refuse(Errc::invalid_arguments,
                  std::string("this is not a URL: ") + curl_url_strerror(code));
  }
  Target target;
  target.scheme = lower(part(url.get(), CURLUPART_SCHEME));
  if (target.scheme != "http" && target.scheme != "https") {
    return refuse(Errc::ssrf_denied, "only http and https URLs can be reached, not " +
                                         clip_utf8(target.scheme, 20) + ":");
  }
  if (!part(url.get(), CURLUPART_ZONEID).empty()) {
    return refuse(Errc::ssrf_denied, "an address with a zone cannot be reached");
  }
  if (!part(url.get(), CURLUPART_USER).empty() || !part(url.get(), CURLUPART_PASSWORD).empty()) {
    return refuse(Errc::ssrf_denied,
                  "the URL holds a user name or password; send an Authorization header instead");
  }
  target.host = normal_host(part(url.get(), CURLUPART_HOST));
  // Look-alike digits and dots become ASCII only inside a resolver, so judge no such name at all.
  if (std::any_of(target.host.begin(), target.host.end(),
                  [](char c) { return static_cast<unsigned char>(c) >= 0x80; })) {
    return refuse(Errc::ssrf_denied, "the host name is not ASCII; write it in its xn-- form");
  }
  const std::string port = part(url.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT);
  std::from_chars(port.data(), port.data() + port.size(), target.port);
  if (target.host.empty() || target.port <= 0 || target.port > 65535) {
    return refuse(Errc::invalid_arguments, "the URL names no host or no valid port");
  }
  curl_url_set(url.get(), CURLUPART_FRAGMENT, nullptr, 0);
  target.text = part(url.get(), CURLUPART_URL);
  // Written out and read again it must name the same place: "%31%32" is the host "12" at first and
  // the address 0.0.0.12 at the second look.
  const CurlUrl again(curl_url());
  if (again == nullptr ||
      curl_url_set(again.get(), CURLUPART_URL, target.text.c_str(), kParseFlags) != CURLUE_OK ||
      normal_host(part(again.get(), CURLUPART_HOST)) != target.host) {
    return refuse(Errc::ssrf_denied, "the host name can be read in more than one way");
  }
  target.url = std::move(url);
  return target;
}

}  // namespace

std::string Target::place() const {
  const bool v6 = host.find(':') != std::string::npos;
  return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

std::string Target::origin() const { return scheme + "://" + place(); }

Result<Target> parse_url(std::string_view text) {
  SEQUENTIAL_TRY(check_text(text));
  CurlUrl url(curl_url());
  if (url == nullptr) return make_error(Errc::internal, "out of memory");
  const CURLUcode code =
      curl_url_set(url.get(), CURLUPART_URL, std::string(text).c_str(), kParseFlags);
  return finish(std::move(url), code);
}

Result<Target> resolve_redirect(const Target& from, std::string_view location) {
  SEQUENTIAL_TRY(check_text(location));
  CurlUrl url(curl_url_dup(from.url.get()));
  if (url == nullptr) return make_error(Errc::internal, "out of memory");
  const CURLUcode code =
      curl_url_set(url.get(), CURLUPART_URL, std::string(location).c_str(), kParseFlags);
  return finish(std::move(url), code);
}

AllowList::AllowList(const std::vector<std::string>& patterns, std::vector<int> ports)
    : ports_(std::move(ports)) {
  for (std::string_view text : patterns) {
    Pattern pattern;
    if (text.starts_with("*.")) {
      pattern.subdomains = true;
      text.remove_prefix(2);
    }
    const bool bare_v6 = !text.starts_with('[') && std::count(text.begin(), text.end(), ':') > 1;
    const auto colon = text.rfind(':');
    const auto bracket = text.rfind(']');
    if (!bare_v6 && colon != std::string_view::npos &&
        (bracket == std::string_view::npos || colon > bracket)) {
      const std::string_view port = text.substr(colon + 1);
      const auto [end, error] =
          std::from_chars(port.data(), port.data() + port.size(), pattern.port);
      if (error != std::errc{} || end != port.data() + port.size() || pattern.port <= 0) continue;
      text = text.substr(0, colon);
    }
    pattern.host = normal_host(text);
    if (!pattern.host.empty()) patterns_.push_back(std::move(pattern));
  }
}

bool AllowList::contains(std::string_view host, int port) const {
  return std::any_of(patterns_.begin(), patterns_.end(), [&](const Pattern& pattern) {
    if (pattern.port != 0 && pattern.port != port) return false;
    if (!pattern.subdomains) return host == pattern.host;
    return host.size() > pattern.host.size() + 1 && host.ends_with(pattern.host) &&
           host[host.size() - pattern.host.size() - 1] == '.';
  });
}

Result<void> judge_target(const Target& target, const AllowList& allowed) {
  if (allowed.contains(target.host, target.port)) return success();
  const std::vector<int>& ports = allowed.ports();
  if (std::find(ports.begin(), ports.end(), target.port) == ports.end()) {
    return refuse(Errc::ssrf_denied,
                  "port " + std::to_string(target.port) +
                      " is not one that task code can reach; an operator can open " +
                      target.place() + " in services.http.allow_hosts");
  }
  const auto kind = classify_text(target.host);
  if (kind && *kind != AddressKind::global) {
    return refuse(Errc::ssrf_denied, target.host + " is " + std::string(address_kind_name(*kind)) +
                                         ", which task code cannot reach; an operator can open it "
                                         "in services.http.allow_hosts");
  }
  return success();
}

}  // namespace sequential::services
