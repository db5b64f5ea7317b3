// One hop: options, callbacks, and the address check. What came of it is judged in outcome.cpp.

#include "http/transfer.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <utility>

#include "http/address.h"
#include "http/token.h"
#include "sequential/base/clock.h"

namespace sequential::services {
namespace {

constexpr std::size_t kHeaderBytesMax = 256 * 1024;  // of one answer
constexpr std::size_t kHeaderCountMax = 256;
constexpr std::size_t kRedirectBodyBytesMax = 64 * 1024;
constexpr std::size_t kRequestHeaderBytesMax = 64 * 1024;
constexpr std::size_t kRequestHeaderCountMax = 128;
constexpr std::size_t kReserveBytesMax = 1 << 20;
constexpr long kConnectTimeoutMsMax = 30'000;

// Framing and routing are the client's, not the caller's.
constexpr std::array<std::string_view, 10> kOwnHeaders = {
    "host", "content-length", "transfer-encoding", "connection",      "keep-alive",
    "te",   "trailer",        "upgrade",           "proxy-connection", "expect"};

Error refuse(std::string message, std::string_view field) {
  return {Errc::invalid_arguments, std::move(message), std::string(field)};
}

Result<void> check_headers(const HttpRequest& request) {
  if (request.headers.size() > kRequestHeaderCountMax) {
    return refuse("a request carries at most 128 headers", "headers");
  }
  std::size_t bytes = 0;
  for (const auto& [name, value] : request.headers) {
    if (!is_token(name)) return refuse("a header name is empty or no token", "headers");
    if (!is_field_value(value)) {
      return refuse("the header " + name + " holds a line break or a control character", "headers");
    }
    const std::string lower = lower_ascii(name);
    if (std::find(kOwnHeaders.begin(), kOwnHeaders.end(), lower) != kOwnHeaders.end()) {
      return refuse("the header " + name + " is set by the client itself", "headers");
    }
    bytes += name.size() + value.size() + 4;
  }
  if (bytes > kRequestHeaderBytesMax) {
    return refuse("the request's headers are longer than 64 KiB", "headers");
  }
  return success();
}

// 8.16 typed these options' arguments; one place to pass them through.
template <class Value>
bool set(CURL* easy, CURLoption option, Value value) {
  return curl_easy_setopt(easy, option, value) == CURLE_OK;
}

}  // namespace

Transfer::Transfer(HttpRequest request, HttpDone done)
    : request_(std::move(request)), done_(std::move(done)) {}

Result<void> Transfer::prepare(const TransferRules& rules) {
  if (!is_token(request_.method) || request_.method.size() > 32) {
    return refuse("the request method is no token", "method");
  }
  if (request_.method == "CONNECT" || request_.method == "TRACE") {
    return refuse("the method " + request_.method + " cannot be sent", "method");
  }
  SEQUENTIAL_TRY(check_headers(request_));
  SEQUENTIAL_TRY(target_, parse_url(request_.url));
  origin_ = target_.origin();
  trusted_ = request_.operator_trusted || rules.allowed.contains(target_.host, target_.port);
  if (!trusted_) return judge_target(target_, rules.allowed);
  return success();
}

Result<void> Transfer::begin(CurlEasy easy, const TransferRules& rules) {
  easy_ = std::move(easy);
  response_ = {};
  response_.final_url = target_.text;
  response_.redirects = hops_;
  header_bytes_ = 0;
  skipped_bytes_ = 0;
  body_started_ = too_large_ = headers_too_large_ = redirect_cut_ = false;
  sends_ = 0;
  // The proxy stands between us and the world, not between us and this machine.
  const auto literal = classify_text(target_.host);
  via_proxy_ = !rules.proxy.empty() && target_.host != "localhost" &&
               !(literal && *literal == AddressKind::loopback);
  SEQUENTIAL_TRY(set_options(rules));
  SEQUENTIAL_TRY(set_body());
  return set_headers();
}

Result<void> Transfer::set_options(const TransferRules& rules) {
  using std::chrono::duration_cast;
  const auto left = duration_cast<Millis>(request_.deadline - system_clock().monotonic()).count();
  const long timeout_ms = static_cast<long>(std::clamp<std::int64_t>(left, 1, 86'400'000));
  const bool tls = target_.scheme == "https";
  CURL* const e = easy_.get();
  bool ok = set(e, CURLOPT_CURLU, target_.url.get());
  ok = ok && set(e, CURLOPT_PRIVATE, this);
  ok = ok && set(e, CURLOPT_PROTOCOLS_STR, "http,https");
  ok = ok && set(e, CURLOPT_FOLLOWLOCATION, 0L);
  ok = ok && set(e, CURLOPT_NOSIGNAL, 1L);
  // A look-up that hangs must not hold up the thread when its request's time is over.
  ok = ok && set(e, CURLOPT_QUICK_EXIT, 1L);
  ok = ok && set(e, CURLOPT_TIMEOUT_MS, timeout_ms);
  ok = ok && set(e, CURLOPT_CONNECTTIMEOUT_MS, std::min(timeout_ms, kConnectTimeoutMsMax));
  ok = ok && set(e, CURLOPT_TCP_KEEPALIVE, 1L);
  ok = ok && set(e, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  // An explicit empty text keeps libcurl from asking the environment.
  ok = ok && set(e, CURLOPT_PROXY, via_proxy_ ? rules.proxy.c_str() : "");
  ok = ok && set(e, CURLOPT_NOPROXY, "");
  if (!rules.ca_file.empty()) ok = ok && set(e, CURLOPT_CAINFO, rules.ca_file.c_str());
  // Many requests of one HTTPS origin share one HTTP/2 connection, so wait to see if it is one.
  ok = ok && set(e, CURLOPT_HTTP_VERSION,
                 static_cast<long>(tls ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
  ok = ok && set(e, CURLOPT_PIPEWAIT, tls ? 1L : 0L);
  ok = ok && set(e, CURLOPT_ACCEPT_ENCODING, "");  // all that this libcurl can undo
  ok = ok && set(e, CURLOPT_HEADERFUNCTION, &Transfer::on_header);
  ok = ok && set(e, CURLOPT_HEADERDATA, this);
  ok = ok && set(e, CURLOPT_WRITEFUNCTION, &Transfer::on_body);
  ok = ok && set(e, CURLOPT_WRITEDATA, this);
  ok = ok && set(e, CURLOPT_OPENSOCKETFUNCTION, &Transfer::on_socket);
  ok = ok && set(e, CURLOPT_OPENSOCKETDATA, this);
  ok = ok && set(e, CURLOPT_PREREQFUNCTION, &Transfer::on_connected);
  ok = ok && set(e, CURLOPT_PREREQDATA, this);
  if (!ok) return make_error(Errc::internal, "libcurl lacks an option that the client needs");
  return success();
}

Result<void> Transfer::set_body() {
  CURL* const e = easy_.get();
  const std::string& method = request_.method;
  bool ok = true;
  if (request_.has_body) {
    ok = set(e, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request_.body.size()));
    ok = ok && set(e, CURLOPT_POSTFIELDS, request_.body.c_str());
    ok = ok && set(e, CURLOPT_CUSTOMREQUEST, method.c_str());
  } else if (method == "GET") {
    ok = set(e, CURLOPT_HTTPGET, 1L);
  } else if (method == "HEAD") {
    ok = set(e, CURLOPT_NOBODY, 1L);
  } else if (method == "POST" || method == "PUT" || method == "PATCH") {
    // These methods say that there is no content (RFC 9110 §8.6): Content-Length: 0.
    ok = set(e, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t{0});
    ok = ok && set(e, CURLOPT_POSTFIELDS, "");
    ok = ok && set(e, CURLOPT_CUSTOMREQUEST, method.c_str());
  } else {
    ok = set(e, CURLOPT_HTTPGET, 1L);
    ok = ok && set(e, CURLOPT_CUSTOMREQUEST, method.c_str());
  }
  if (!ok) return make_error(Errc::internal, "libcurl refused the request's body");
  return success();
}

Result<void> Transfer::set_headers() {
  CurlList list;
  const auto append = [&list](const std::string& line) {
    curl_slist* const longer = curl_slist_append(list.get(), line.c_str());
    if (longer == nullptr) return false;
    static_cast<void>(list.release());
    list.reset(longer);
    return true;
  };
  bool ok = append("Expect:");
  bool has_type = false, has_agent = false;
  for (const auto& [name, value] : request_.headers) {
    const std::string lower = lower_ascii(name);
    if (lower == "accept-encoding") continue;  // what the client can undo is the client's to say
    has_type = has_type || lower == "content-type";
    has_agent = has_agent || lower == "user-agent";
    // libcurl's form of a header without a value is "Name;".
    ok = ok && append(value.empty() ? name + ";" : name + ": " + value);
  }
  // libcurl would declare a form.
  if (!has_type) ok = ok && append("Content-Type:");
  if (!has_agent) ok = ok && append("User-Agent: sequential-runner/" SEQUENTIAL_VERSION);
  headers_ = std::move(list);
  if (!ok || !set(easy_.get(), CURLOPT_HTTPHEADER, headers_.get())) {
    return make_error(Errc::internal, "out of memory");
  }
  return success();
}

std::size_t Transfer::on_header(char* data, std::size_t size, std::size_t count, void* self) {
  auto* const that = static_cast<Transfer*>(self);
  const std::size_t bytes = size * count;
  that->header_bytes_ += bytes;
  if (that->header_bytes_ > kHeaderBytesMax || that->response_.headers.size() > kHeaderCountMax) {
    that->headers_too_large_ = true;
    return 0;
  }
  that->take_header({data, bytes});
  return bytes;
}

void Transfer::take_header(std::string_view line) {
  while (line.ends_with('\n') || line.ends_with('\r')) line.remove_suffix(1);
  if (line.empty() || body_started_) return;  // after the body: trailers, which nobody asked for
  if (line.starts_with("HTTP/")) {
    response_.headers.clear();  // an interim answer (1xx) came before this one
    response_.reason.clear();
    const auto status = line.find(' ');
    const auto reason = status == std::string_view::npos ? status : line.find(' ', status + 1);
    if (reason != std::string_view::npos) response_.reason = line.substr(reason + 1);
    return;
  }
  if (is_blank(line.front())) {  // obsolete line folding
    if (!response_.headers.empty()) {
      response_.headers.back().second += " " + std::string(trim_blanks(line));
    }
    return;
  }
  const auto colon = line.find(':');
  if (colon == std::string_view::npos) return;
  response_.headers.emplace_back(lower_ascii(trim_blanks(line.substr(0, colon))),
                                 std::string(trim_blanks(line.substr(colon + 1))));
}

bool Transfer::body_allowed(std::size_t more) {
  if (body_started_) {
    return response_.body.size() + more <= static_cast<std::size_t>(request_.response_bytes_max);
  }
  body_started_ = true;
  long status = 0;
  curl_off_t declared = -1;
  curl_easy_getinfo(easy_.get(), CURLINFO_RESPONSE_CODE, &status);
  curl_easy_getinfo(easy_.get(), CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &declared);
  response_.status = static_cast<int>(status);
  if (will_redirect()) return true;
  if (declared > request_.response_bytes_max) return false;
  if (declared > 0) {
    response_.body.reserve(std::min(static_cast<std::size_t>(declared), kReserveBytesMax));
  }
  return more <= static_cast<std::size_t>(request_.response_bytes_max);
}

std::size_t Transfer::on_body(char* data, std::size_t size, std::size_t count, void* self) {
  auto* const that = static_cast<Transfer*>(self);
  const std::size_t bytes = size * count;
  if (!that->body_allowed(bytes)) {
    that->too_large_ = true;
    return 0;
  }
  if (that->will_redirect()) {
    that->skipped_bytes_ += bytes;
    that->redirect_cut_ = that->skipped_bytes_ > kRedirectBodyBytesMax;
    return that->redirect_cut_ ? 0 : bytes;
  }
  that->response_.body.append(data, bytes);
  return bytes;
}

bool Transfer::judge_address(const std::string& text, bool is_global, std::string_view kind) {
  // One forbidden address among a name's answers condemns the request: which of them is tried
  // first is up to whoever owns the name.
  if (!denied_.empty()) return false;
  if (trusted_ || via_proxy_ || is_global) return true;
  denied_ = text + ", " + std::string(kind);
  return false;
}

curl_socket_t Transfer::on_socket(void* self, curlsocktype purpose, curl_sockaddr* address) {
  auto* const that = static_cast<Transfer*>(self);
  if (purpose != CURLSOCKTYPE_IPCXN) return CURL_SOCKET_BAD;
  if (address->family != AF_INET && address->family != AF_INET6) return CURL_SOCKET_BAD;
  const AddressKind kind = classify(&address->addr, address->addrlen);
  if (!that->judge_address(address_text(&address->addr, address->addrlen),
                           kind == AddressKind::global, address_kind_name(kind))) {
    return CURL_SOCKET_BAD;
  }
  return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

// Called when a connection is ready, before the request goes out: also on one that an earlier,
// perhaps more trusted request has opened, and again when libcurl would send the request anew.
int Transfer::on_connected(void* self, char* remote_ip, char* /*local_ip*/, int /*remote_port*/,
                           int /*local_port*/) {
  auto* const that = static_cast<Transfer*>(self);
  const std::string text = remote_ip == nullptr ? "" : remote_ip;
  const AddressKind kind = classify_text(text).value_or(AddressKind::reserved);
  if (!that->judge_address(text, kind == AddressKind::global, address_kind_name(kind))) {
    return CURL_PREREQFUNC_ABORT;
  }
  if (++that->sends_ > 1 && !that->resend_allowed()) {
    that->resend_refused_ = true;
    return CURL_PREREQFUNC_ABORT;
  }
  return CURL_PREREQFUNC_OK;
}

}  // namespace sequential::services
