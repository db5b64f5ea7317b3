#include "gapi/answer.h"

#include <algorithm>
#include <utility>

#include "base64.h"
#include "json_args.h"
#include "reply.h"
#include "sequential/base/json_text.h"

namespace sequential::services::gapi {
namespace {

constexpr std::size_t kMessageBytesMax = 2000;  // of a message that the API wrote

std::string_view content_type(const HttpResponse& response) {
  for (const auto& [name, value] : response.headers) {
    if (name == "content-type") return value;
  }
  return {};
}

bool all_blank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

CallReply content_reply(const MethodFacts& method, bool as_base64, const std::string& body) {
  if (as_base64) return CallReply::ok(json_string(to_base64(body)));
  if (is_valid_utf8(body)) return CallReply::ok(json_string(body));
  return failed(Errc::response_invalid,
                std::string(method.name) +
                    ": the content is not text; ask for it with {responseType: \"base64\"}");
}

bool says_rate_limit(std::string_view errors) {
  for (const std::string_view each : json_elements(errors)) {
    if (!json_is_object(each)) continue;
    const std::string reason = json_text_value(json_member(each, "reason")).value_or("");
    if (reason == "rateLimitExceeded" || reason == "userRateLimitExceeded") return true;
  }
  return false;
}

}  // namespace

CallReply read_success(const MethodFacts& method, const Wanted& wanted, HttpResponse response) {
  const bool json_typed = content_type(response).find("json") != std::string_view::npos;
  if (wanted.content || (method.download && !json_typed && response.status != 204)) {
    return content_reply(method, wanted.as_base64, response.body);
  }
  if (response.status == 204 || all_blank(response.body)) return CallReply::ok("\"\"");
  if (const auto checked = check_json(response.body); checked.has_error()) {
    return failed(Errc::response_invalid, std::string(method.name) + ": the answer is not JSON (" +
                                              checked.error().message + ")");
  }
  return CallReply::ok(std::move(response.body));
}

CallError read_failure(const MethodFacts& method, const HttpResponse& response,
                       bool& rate_limited) {
  CallError out;
  out.errc = Errc::service_error;
  out.status = response.status;
  out.code = std::to_string(response.status);
  out.code_is_number = true;
  rate_limited = false;
  const std::string& body = response.body;
  const std::string_view error = check_json(body).has_value() ? json_member(body, "error") : "";
  if (json_is_object(error)) {
    out.message = json_text_value(json_member(error, "message")).value_or("");
    if (const auto code = json_member(error, "code"); json_is_number(code)) {
      out.code = std::string(code);
    }
    if (const auto errors = json_member(error, "errors"); json_is_array(errors)) {
      out.errors = std::string(errors);
      rate_limited = response.status == 403 && says_rate_limit(errors);
    }
  } else if (const auto oauth = json_text_value(error)) {
    const auto description = json_text_value(json_member(body, "error_description"));
    out.message = description ? *oauth + ": " + *description : *oauth;
  }
  if (out.message.empty()) {
    out.message = std::string(api_of(method).name) + " answered " + std::string(method.name) +
                  " with status " + std::to_string(response.status);
  }
  out.message = clip_utf8(out.message, kMessageBytesMax);
  return out;
}

}  // namespace sequential::services::gapi
