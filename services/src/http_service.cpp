// http: what `fetch` in task code uses. The answer of any status is a result; only a request that
// gets no answer is an error.

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base64.h"
#include "http/token.h"
#include "http_call.h"
#include "json_args.h"
#include "reply.h"
#include "sequential/base/clock.h"
#include "sequential/base/json_text.h"
#include "sequential/services/builtin.h"

namespace sequential::services {
namespace {

constexpr std::int64_t kTimeoutMsMax = 24ll * 3'600'000;

// fetch leaves these to the client, silently.
constexpr std::array<std::string_view, 13> kForbiddenHeaders = {"accept-encoding",
                                                                "connection",
                                                                "content-length",
                                                                "expect",
                                                                "host",
                                                                "keep-alive",
                                                                "proxy-authorization",
                                                                "proxy-connection",
                                                                "te",
                                                                "trailer",
                                                                "transfer-encoding",
                                                                "upgrade",
                                                                "via"};

enum class Redirect { follow, error, manual };

struct Fetch {
  HttpRequest request;
  Redirect redirect = Redirect::follow;
  bool as_base64 = false;
};

Error refuse(std::string message, std::string field) {
  return {Errc::invalid_arguments, "http.fetch: " + std::move(message), std::move(field)};
}

std::string normal_method(std::string method) {
  constexpr std::array<std::string_view, 7> known = {"DELETE", "GET",  "HEAD", "OPTIONS",
                                                     "PATCH",  "POST", "PUT"};
  std::string upper = method;
  for (char& c : upper) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return std::find(known.begin(), known.end(), upper) != known.end() ? upper : method;
}

const std::string* find_header(const HttpRequest& request, std::string_view lower_name) {
  for (const auto& [name, value] : request.headers) {
    if (lower_ascii(name) == lower_name) return &value;
  }
  return nullptr;
}

Result<void> add_header(HttpRequest& request, std::string name, std::string_view value) {
  std::optional<std::string> text = json_text_value(value);
  if (!text && !json_is_object(value) && !json_is_array(value)) text = std::string(value);
  if (!text) return refuse("the header " + name + " is no text", "headers");
  const std::string lower = lower_ascii(name);
  if (std::find(kForbiddenHeaders.begin(), kForbiddenHeaders.end(), lower) !=
      kForbiddenHeaders.end()) {
    return success();
  }
  request.headers.emplace_back(std::move(name), std::string(trim_blanks(*text)));
  return success();
}

Result<void> read_headers(std::string_view headers, HttpRequest& request) {
  if (json_is_null(headers)) return success();
  if (json_is_object(headers)) {
    for (JsonMember& member : json_members(headers)) {
      SEQUENTIAL_TRY(add_header(request, std::move(member.name), member.value));
    }
    return success();
  }
  if (!json_is_array(headers)) {
    return refuse("headers are an object, or a list of [name, value]", "headers");
  }
  for (const std::string_view pair : json_elements(headers)) {
    const auto parts = json_elements(pair);
    const auto name = parts.size() == 2 ? json_text_value(parts[0]) : std::nullopt;
    if (!name) return refuse("headers are an object, or a list of [name, value]", "headers");
    SEQUENTIAL_TRY(add_header(request, *name, parts[1]));
  }
  return success();
}

Result<void> read_body(std::string_view options, HttpRequest& request) {
  const std::string_view text = json_member(options, "body");
  const std::string_view base64 = json_member(options, "bodyBase64");
  if (!json_is_null(text)) {
    const auto body = json_text_value(text);
    if (!body) return refuse("body is text (bytes go into bodyBase64)", "body");
    request.body = *body;
    request.has_body = true;
    if (find_header(request, "content-type") == nullptr) {
      request.headers.emplace_back("Content-Type", "text/plain;charset=UTF-8");
    }
  } else if (!json_is_null(base64)) {
    const auto encoded = json_text_value(base64);
    auto body = encoded ? from_base64(*encoded) : std::nullopt;
    if (!body) return refuse("bodyBase64 is not base64", "bodyBase64");
    request.body = std::move(*body);
    request.has_body = true;
  }
  if (request.has_body && (request.method == "GET" || request.method == "HEAD")) {
    return refuse("a " + request.method + " request has no body", "body");
  }
  return success();
}

Result<void> read_modes(std::string_view options, Fetch& fetch) {
  if (const std::string_view mode = json_member(options, "redirect"); !json_is_null(mode)) {
    const auto text = json_text_value(mode).value_or("");
    if (text == "error") {
      fetch.redirect = Redirect::error;
    } else if (text == "manual") {
      fetch.redirect = Redirect::manual;
    } else if (text != "follow") {
      return refuse("redirect is \"follow\", \"error\" or \"manual\"", "redirect");
    }
  }
  if (const std::string_view type = json_member(options, "responseType"); !json_is_null(type)) {
    const auto text = json_text_value(type).value_or("");
    fetch.as_base64 = text == "base64";
    if (!fetch.as_base64 && text != "text") {
      return refuse("responseType is \"text\" or \"base64\"", "responseType");
    }
  }
  if (const std::string_view limit = json_member(options, "timeoutMs"); !json_is_null(limit)) {
    const auto ms = json_whole_number(limit);
    if (!ms || *ms < 1 || *ms > kTimeoutMsMax) {
      return refuse("timeoutMs is a whole number from 1 to 86400000", "timeoutMs");
    }
    fetch.request.deadline =
        std::min(fetch.request.deadline, system_clock().monotonic() + Millis{*ms});
  }
  return success();
}

// fetch({url, …}) as the runtime calls it, or fetch(url, {…}) by hand.
Result<Fetch> read_fetch(const CallRequest& call) {
  SEQUENTIAL_TRY(const auto arguments, json_arguments(call.args));
  Fetch fetch;
  fetch.request.deadline = call.deadline;
  std::string_view options = "{}";
  std::string_view url;
  if (!arguments.empty() && json_is_object(arguments[0])) {
    options = arguments[0];
    url = json_member(options, "url");
  } else if (!arguments.empty()) {
    url = arguments[0];
    if (arguments.size() > 1 && json_is_object(arguments[1])) options = arguments[1];
  }
  const auto url_text = json_text_value(url);
  if (!url_text) return refuse("url is missing", "url");
  fetch.request.url = *url_text;
  if (const std::string_view method = json_member(options, "method"); !json_is_null(method)) {
    const auto text = json_text_value(method);
    if (!text) return refuse("method is no text", "method");
    fetch.request.method = normal_method(*text);
  }
  SEQUENTIAL_TRY(read_headers(json_member(options, "headers"), fetch.request));
  SEQUENTIAL_TRY(read_body(options, fetch.request));
  SEQUENTIAL_TRY(read_modes(options, fetch));
  return fetch;
}

std::string response_json(const HttpResponse& response, bool as_base64) {
  std::string headers = "[";
  for (const auto& [name, value] : response.headers) {
    if (headers.size() > 1) headers += ',';
    headers += '[';
    append_json_string(headers, name);
    headers += ',';
    append_json_string(headers, value);
    headers += ']';
  }
  headers += ']';
  JsonObject object;
  object.number("status", response.status);
  object.string("statusText", response.reason);
  object.string("url", response.final_url);
  object.boolean("redirected", response.redirects > 0);
  object.raw("headers", headers);
  if (as_base64 || !is_valid_utf8(response.body)) {
    object.string("bodyBase64", to_base64(response.body));
  } else {
    object.string("body", response.body);
  }
  return std::move(object).text();
}

class HttpService final : public Service {
 public:
  HttpService(HttpClient& http, HttpServiceOptions options) : http_(http), options_(options) {}

  std::string_view name() const override { return "http"; }
  std::string_view description() const override {
    return "Outbound HTTP for fetch: public addresses, and what the operator opened.";
  }
  std::vector<MethodInfo> methods() const override {
    return {
        {"fetch", "Sends a request: fetch({url, method, headers, body, redirect, timeoutMs})."}};
  }
  CallPolicy policy(std::string_view /*method*/) const override { return {}; }

  void call(CallRequest call, CallDone done) override {
    auto read = read_fetch(call);
    if (read.has_error()) return done(failed(read.error()));
    Fetch fetch = std::move(read).value();
    const Sending sending = read_sending(call.options);
    HttpRequest& request = fetch.request;
    request.send_once = sending.at_most_once;
    request.response_bytes_max = options_.response_bytes_max;
    request.redirects_max = fetch.redirect == Redirect::follow ? options_.redirects_max : 0;
    if (!call.idempotency_key.empty() && request.method != "GET" && request.method != "HEAD" &&
        find_header(request, "idempotency-key") == nullptr) {
      request.headers.emplace_back("Idempotency-Key", '"' + call.idempotency_key + '"');
    }
    std::string method = request.method;
    http_.send(std::move(request), [done = std::move(done), method = std::move(method), sending,
                                    redirect = fetch.redirect,
                                    as_base64 = fetch.as_base64](Result<HttpResponse> answer) {
      if (answer.has_error()) {
        return done(CallReply::fail(transport_error(answer.error(), method, sending)));
      }
      const HttpResponse& response = answer.value();
      if (redirect == Redirect::error && response.status >= 301 && response.status <= 308 &&
          response.status != 304) {
        return done(
            failed(Errc::response_invalid, "the answer is a redirect, and redirect is \"error\""));
      }
      done(CallReply::ok(response_json(response, as_base64)));
    });
  }

 private:
  HttpClient& http_;
  const HttpServiceOptions options_;
};

}  // namespace

std::shared_ptr<Service> make_http_service(HttpClient& http, HttpServiceOptions options) {
  return std::make_shared<HttpService>(http, options);
}

}  // namespace sequential::services
