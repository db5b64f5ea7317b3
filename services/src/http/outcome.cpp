// What came of a hop: the answer, the next hop, or an error that says what to do.

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "http/token.h"
#include "http/transfer.h"

namespace sequential::services {
namespace {

constexpr int kCurlTooLarge = 100;  // CURLE_TOO_LARGE, which older headers do not name

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

// Sending these again cannot do more than sending them once (RFC 9110 §9.2.2).
bool is_idempotent(std::string_view method) {
  constexpr std::array<std::string_view, 5> methods = {"GET", "HEAD", "PUT", "DELETE", "OPTIONS"};
  return std::find(methods.begin(), methods.end(), method) != methods.end();
}

void drop_headers(HttpRequest& request, std::initializer_list<std::string_view> names) {
  std::erase_if(request.headers, [&](const auto& each) {
    const std::string lower = lower_ascii(each.first);
    return std::find(names.begin(), names.end(), lower) != names.end();
  });
}

// Certainly nothing of the request was sent.
bool before_sending(CURLcode code) {
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
      return true;
    default:
      return false;
  }
}

std::string reason_of(CURLcode code, long os_error) {
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
      return "its name does not resolve";
    case CURLE_COULDNT_RESOLVE_PROXY:
      return "the name of services.http.proxy does not resolve";
    case CURLE_PEER_FAILED_VERIFICATION:
      return "its TLS certificate is not valid for that name or not from a trusted authority "
             "(an operator can name another in services.http.ca_file)";
    case CURLE_SSL_CACERT_BADFILE:
      return "the file of services.http.ca_file cannot be read as certificates";
    case CURLE_SSL_CONNECT_ERROR:
      return "the TLS handshake failed";
    case CURLE_GOT_NOTHING:
      return "it closed the connection without an answer";
    case CURLE_RECV_ERROR:
      return "the connection broke while reading the answer";
    case CURLE_SEND_ERROR:
      return "the connection broke while sending the request";
    default:
      break;
  }
  if (os_error != 0) return std::strerror(static_cast<int>(os_error));
  return curl_easy_strerror(code);
}

bool is_malformed(CURLcode code) {
  return code == CURLE_PARTIAL_FILE || code == CURLE_BAD_CONTENT_ENCODING ||
         code == CURLE_WEIRD_SERVER_REPLY || code == CURLE_UNSUPPORTED_PROTOCOL ||
         code == CURLE_HTTP2 || code == CURLE_HTTP2_STREAM;
}

std::string malformed_reason(CURLcode code) {
  if (code == CURLE_PARTIAL_FILE) return "it ended before its declared length";
  if (code == CURLE_BAD_CONTENT_ENCODING) return "its content encoding cannot be undone";
  return "it is not HTTP as it should be";
}

}  // namespace

bool Transfer::resend_allowed() const {
  return !request_.send_once && is_idempotent(request_.method);
}

const std::string* Transfer::header(std::string_view name) const {
  const auto found = std::find_if(response_.headers.begin(), response_.headers.end(),
                                  [&](const auto& each) { return each.first == name; });
  return found == response_.headers.end() ? nullptr : &found->second;
}

bool Transfer::will_redirect() const {
  if (request_.redirects_max <= 0 || !is_redirect(response_.status)) return false;
  const std::string* location = header("location");
  return location != nullptr && !location->empty();
}

Error Transfer::timed_out(bool connected) const {
  Error error(Errc::timeout, connected ? target_.place() + " did not answer in time"
                                       : "no connection to " + target_.place() + " in time");
  if (!connected) error.field = "connect";
  return error;
}

Error Transfer::failure(CURLcode code) {
  const std::string place = target_.place();
  if (!denied_.empty()) {
    return {Errc::ssrf_denied,
            place + " is at " + denied_ +
                ", which task code cannot reach; an operator can open it in "
                "services.http.allow_hosts",
            "connect"};
  }
  if (headers_too_large_) {
    return make_error(Errc::response_too_large, "the headers of " + place +
                                                    "'s answer are larger "
                                                    "than 256 KiB or more than 256");
  }
  if (too_large_) {
    return make_error(Errc::response_too_large, "the answer of " + place + " is larger than " +
                                                    std::to_string(request_.response_bytes_max) +
                                                    " bytes; ask for less at a time");
  }
  if (resend_refused_) {
    return make_error(Errc::service_unavailable,
                      "the connection to " + place +
                          " broke after the request was sent; it is not sent again by itself "
                          "because it may have taken effect");
  }
  if (code == CURLE_OPERATION_TIMEDOUT) return timed_out(sends_ > 0);
  if (is_malformed(code)) {
    return make_error(Errc::response_invalid,
                      "the answer of " + place + " is damaged: " + malformed_reason(code));
  }
  // Older libcurl reports a header line over its own limit as a lack of memory.
  if (static_cast<int>(code) == kCurlTooLarge || (code == CURLE_OUT_OF_MEMORY && !body_started_)) {
    return make_error(Errc::response_too_large,
                      "the headers of " + place + "'s answer are too large");
  }
  long os_error = 0;
  curl_easy_getinfo(easy_.get(), CURLINFO_OS_ERRNO, &os_error);
  Error error(Errc::service_unavailable,
              place + " could not be reached: " + reason_of(code, os_error));
  if (before_sending(code) || sends_ == 0) error.field = "connect";
  return error;
}

// WHATWG fetch §4.4, HTTP-redirect fetch.
Result<void> Transfer::follow(const TransferRules& rules) {
  if (++hops_ > request_.redirects_max) {
    return make_error(Errc::response_invalid, "more than " +
                                                  std::to_string(request_.redirects_max) +
                                                  " redirects, the last from " + target_.place());
  }
  auto next = resolve_redirect(target_, *header("location"));
  if (next.has_error()) {
    Error error = std::move(next).error();
    error.message =
        target_.place() + " redirects to a place that cannot be followed: " + error.message;
    if (error.code == Errc::invalid_arguments) error.code = Errc::response_invalid;
    return error;
  }
  const int status = response_.status;
  const bool to_get = (status == 303 && request_.method != "GET" && request_.method != "HEAD") ||
                      ((status == 301 || status == 302) && request_.method == "POST");
  if (to_get) {
    request_.method = "GET";
    request_.body.clear();
    request_.has_body = false;
    drop_headers(request_,
                 {"content-encoding", "content-language", "content-location", "content-type"});
  }
  const bool same_origin = next.value().origin() == origin_;
  target_ = std::move(next).value();
  if (!same_origin) {
    drop_headers(request_, {"authorization", "cookie", "proxy-authorization"});
    // Only the URL itself was the operator's; where its server points is not.
    origin_ = target_.origin();
    trusted_ = rules.allowed.contains(target_.host, target_.port);
    if (!trusted_) return judge_target(target_, rules.allowed);
  }
  return success();
}

std::optional<Result<HttpResponse>> Transfer::conclude(CURLcode code, const TransferRules& rules) {
  if (!denied_.empty()) return Result<HttpResponse>(failure(code));
  if (code != CURLE_OK && !redirect_cut_) return Result<HttpResponse>(failure(code));
  long status = 0;
  curl_easy_getinfo(easy_.get(), CURLINFO_RESPONSE_CODE, &status);
  response_.status = static_cast<int>(status);
  if (!will_redirect()) return Result<HttpResponse>(std::move(response_));
  if (const auto followed = follow(rules); followed.has_error()) {
    return Result<HttpResponse>(followed.error());
  }
  return std::nullopt;
}

}  // namespace sequential::services
