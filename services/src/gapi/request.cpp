#include "gapi/request.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <optional>

#include "base64.h"
#include "gapi/scopes.h"
#include "http/token.h"
#include "json_args.h"
#include "sequential/base/bytes.h"
#include "sequential/base/json_text.h"

namespace sequential::services::gapi {
namespace {

// Members of params that are not parameters of the method.
constexpr std::array<std::string_view, 5> kNotParams = {"requestBody", "resource", "media", "auth",
                                                        "headers"};
// A caller's headers may not replace what this service answers for.
constexpr std::array<std::string_view, 5> kOwnHeaders = {
    "authorization", "content-type", "host", "x-goog-user-project", "x-idempotency-key"};
constexpr double kIntegerMax = 1e21;  // from here on JavaScript writes an exponent

Error refuse(const MethodFacts& method, const std::string& what) {
  return {Errc::invalid_arguments, std::string(method.name) + ": " + what, "args"};
}

template <std::size_t N>
bool among(const std::array<std::string_view, N>& list, std::string_view name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

// A scalar as String(value) would write it; nullopt for lists and objects.
std::optional<std::string> scalar_text(std::string_view value) {
  if (json_is_string(value)) return json_text_value(value);
  if (value == "true" || value == "false") return std::string(value);
  if (value == "null") return std::string{};
  if (!json_is_number(value)) return std::nullopt;
  const auto number = json_double(value);
  if (!number) return std::string(value);
  // "1.0" and "-0" are what other JSON writers make of whole numbers.
  if (std::trunc(*number) == *number && std::abs(*number) < kIntegerMax) {
    const bool plain = value.find_first_of(".eE") == std::string_view::npos && value != "-0";
    if (plain) return std::string(value);
    std::array<char, 32> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(),
                                   *number == 0 ? 0.0 : *number, std::chars_format::fixed);
    return std::string(digits.data(), end.ptr);
  }
  return std::string(value);
}

const JsonMember* find_param(const std::vector<JsonMember>& params, std::string_view name) {
  const auto place = std::find_if(params.begin(), params.end(),
                                  [&](const JsonMember& each) { return each.name == name; });
  return place == params.end() ? nullptr : &*place;
}

bool is_path_param(const MethodFacts& method, std::string_view name) {
  const auto names = path_params(method);
  return std::find(names.begin(), names.end(), name) != names.end();
}

// An empty path parameter counts as missing: it would silently address the collection instead.
Result<void> check_required(const MethodFacts& method, const std::vector<JsonMember>& params) {
  std::string missing;
  const auto miss = [&missing](std::string_view name) {
    missing += (missing.empty() ? "" : ", ") + std::string(name);
  };
  for (const std::string_view name : path_params(method)) {
    const JsonMember* param = find_param(params, name);
    if (param == nullptr || json_is_null(param->value) || param->value == "\"\"") miss(name);
  }
  for (const QueryFacts& query : query_params(method)) {
    if (!query.required) continue;
    const JsonMember* param = find_param(params, query.name);
    if (param == nullptr || json_is_null(param->value) || param->value == "[]") miss(query.name);
  }
  if (missing.empty()) return success();
  return Error{Errc::invalid_arguments, "Missing required parameters: " + missing, "args"};
}

// "{x}" and "{+x}" replaced by the parameters.
Result<std::string> expand(const MethodFacts& method, std::string_view path_template,
                           const std::vector<JsonMember>& params) {
  std::string path;
  while (!path_template.empty()) {
    const auto open = path_template.find('{');
    path += path_template.substr(0, open);
    if (open == std::string_view::npos) break;
    const auto close = path_template.find('}', open);
    std::string_view name = path_template.substr(open + 1, close - open - 1);
    path_template.remove_prefix(close + 1);
    const bool reserved = name.starts_with('+');
    if (reserved) name.remove_prefix(1);
    const JsonMember* param = find_param(params, name);
    const auto text = param == nullptr ? std::nullopt : scalar_text(param->value);
    if (!text) {
      return refuse(method, "parameter " + std::string(name) + " must be text or a number");
    }
    path += percent_encode(*text, reserved ? Slash::keep : Slash::encode);
  }
  // A URL's parser takes "." and ".." for steps through the tree: another method's resource.
  std::string_view rest = path;
  while (!rest.empty()) {
    const auto end = std::min(rest.find('/'), rest.size());
    const std::string_view step = rest.substr(0, end);
    if (step == "." || step == "..") {
      return refuse(method, "a path parameter may not be \".\" or \"..\"");
    }
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return path;
}

Result<std::string> query_text(const MethodFacts& method, const std::vector<JsonMember>& params) {
  std::string query;
  for (const JsonMember& param : params) {
    if (among(kNotParams, param.name) || is_path_param(method, param.name)) continue;
    const std::string name = percent_encode(param.name, Slash::encode);
    const auto values = json_is_array(param.value) ? json_elements(param.value)
                                                   : std::vector<std::string_view>{param.value};
    for (const std::string_view value : values) {
      const auto text = scalar_text(value);
      if (!text) {
        return refuse(method, "parameter " + param.name +
                                  " must be text, a number, true, false, or a list of these");
      }
      query += (query.empty() ? "" : "&") + name + "=" + percent_encode(*text, Slash::encode);
    }
  }
  return query;
}

struct Media {
  std::string type;
  std::string body;
};

Result<Media> read_media(const MethodFacts& method, std::string_view media) {
  if (!json_is_object(media)) {
    return refuse(method, "media is an object: {mimeType, body} or {mimeType, bodyBase64}");
  }
  Media out;
  const std::string_view text = json_member(media, "body");
  const std::string_view base64 = json_member(media, "bodyBase64");
  if (const auto body = json_text_value(text)) {
    out.body = *body;
    out.type = "text/plain";
  } else if (const auto encoded = json_text_value(base64)) {
    auto bytes = from_base64(*encoded);
    if (!bytes) return refuse(method, "media.bodyBase64 is not base64");
    out.body = std::move(*bytes);
    out.type = "application/octet-stream";
  } else {
    return refuse(method, "media needs body (text) or bodyBase64");
  }
  if (const std::string_view type = json_member(media, "mimeType"); !json_is_null(type)) {
    const auto name = json_text_value(type);
    if (!name || name->empty() || !is_field_value(*name)) {
      return refuse(method, "media.mimeType is no media type");
    }
    out.type = *name;
  }
  return out;
}

void set_multipart(HttpRequest& request, std::string_view json, const Media& media) {
  // Random, so that no content can hold it but by a chance that does not happen.
  const std::string boundary = "sequential-" + to_hex(random_bytes(16));
  request.headers.emplace_back("Content-Type", "multipart/related; boundary=" + boundary);
  request.body.reserve(json.size() + media.body.size() + 256);
  request.body = "--" + boundary + "\r\nContent-Type: application/json\r\n\r\n";
  request.body += json;
  request.body += "\r\n--" + boundary + "\r\nContent-Type: " + media.type + "\r\n\r\n";
  request.body += media.body;
  request.body += "\r\n--" + boundary + "--";
}

// Sets body and content type; answers the uploadType that the query gets, or empty.
Result<std::string> set_content(const MethodFacts& method, std::string_view params,
                                HttpRequest& request) {
  std::string_view json = json_member(params, "requestBody");
  if (json_is_null(json)) json = json_member(params, "resource");
  const std::string_view media_text = json_member(params, "media");
  if (json_is_null(media_text)) {
    if (json_is_null(json)) return std::string{};
    if (method.verb == "GET") return refuse(method, "the method takes no requestBody");
    request.headers.emplace_back("Content-Type", "application/json");
    request.body = std::string(json);
    request.has_body = true;
    return std::string{};
  }
  if (method.upload.empty()) return refuse(method, "the method takes no media");
  SEQUENTIAL_TRY(Media media, read_media(method, media_text));
  request.has_body = true;
  if (!json_is_null(json)) {
    set_multipart(request, json, media);
    return std::string("multipart");
  }
  request.headers.emplace_back("Content-Type", media.type);
  request.body = std::move(media.body);
  return std::string("media");
}

Result<void> add_callers_headers(const MethodFacts& method, std::string_view headers,
                                 HttpRequest& request) {
  if (json_is_null(headers)) return success();
  if (!json_is_object(headers)) return refuse(method, "headers is an object of texts");
  for (const JsonMember& header : json_members(headers)) {
    const auto text = json_text_value(header.value);
    if (!text || !is_token(header.name)) return refuse(method, "headers is an object of texts");
    if (among(kOwnHeaders, lower_ascii(header.name))) {
      return refuse(method, "the header " + header.name + " is set by the service");
    }
    request.headers.emplace_back(header.name, *text);
  }
  return success();
}

}  // namespace

std::string percent_encode(std::string_view text, Slash slash) {
  constexpr std::string_view hex = "0123456789ABCDEF";
  std::string out;
  out.reserve(text.size() + 16);
  for (const char c : text) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                       c == '-' || c == '_' || c == '.' || c == '~' ||
                       (c == '/' && slash == Slash::keep);
    if (plain) {
      out += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out += '%';
      out += hex[byte >> 4];
      out += hex[byte & 0xF];
    }
  }
  return out;
}

std::string fill_host(std::string_view endpoint, std::string_view host) {
  constexpr std::string_view mark = "{host}";
  std::string out(endpoint);
  if (const auto at = out.find(mark); at != std::string::npos) {
    out.replace(at, mark.size(), host);
  }
  while (out.ends_with('/')) out.pop_back();
  return out;
}

Result<CallOptions> read_options(std::string_view argument, std::string_view call_options) {
  CallOptions options;
  const auto fault = [](std::string_view field, std::string_view rule) {
    return Error{Errc::invalid_arguments,
                 "gapi option " + std::string(field) + " must be " + std::string(rule),
                 "options." + std::string(field)};
  };
  const auto member = [&](std::string_view name) {
    std::string_view value = json_is_object(argument) ? json_member(argument, name) : "";
    if (json_is_null(value) && json_is_object(call_options))
      value = json_member(call_options, name);
    return value;
  };
  if (const std::string_view subject = member("subject"); !json_is_null(subject)) {
    options.subject = json_text_value(subject).value_or("");
    if (options.subject.empty()) return fault("subject", "an e-mail address");
  }
  if (const std::string_view scopes = member("scopes"); !json_is_null(scopes)) {
    if (json_is_string(scopes)) options.scopes = split_scopes(json_text_value(scopes).value_or(""));
    if (json_is_array(scopes)) options.scopes = split_scopes(scopes);
    if (options.scopes.empty()) return fault("scopes", "a list of scopes");
  }
  for (const std::string_view name : {"responseType", "encoding"}) {
    const std::string_view value = member(name);
    if (json_is_null(value)) continue;
    const std::string text = json_text_value(value).value_or("");
    if (text == "base64") {
      options.as_base64 = true;
    } else if (text != "text" && text != "json" && text != "utf8") {
      return fault(name, "\"text\" or \"base64\"");
    }
  }
  return options;
}

std::string gmail_user(const MethodFacts& method, std::string_view params) {
  if (api_of(method).name != "gmail" || !json_is_object(params)) return {};
  const std::string user = json_text_value(json_member(params, "userId")).value_or("");
  return user.find('@') == std::string::npos ? std::string{} : user;
}

bool wants_content(std::string_view params) {
  return json_is_object(params) &&
         json_text_value(json_member(params, "alt")) == std::string("media");
}

Result<HttpRequest> build_request(const MethodFacts& method, std::string_view params,
                                  std::string_view endpoint) {
  if (!json_is_null(params) && !json_is_object(params)) {
    return refuse(method, "the parameters are an object");
  }
  const std::vector<JsonMember> members = json_members(params);
  SEQUENTIAL_TRY(check_required(method, members));
  HttpRequest request;
  request.method = std::string(method.verb);
  std::string upload;
  if (json_is_object(params)) {
    SEQUENTIAL_TRY(upload, set_content(method, params, request));
    SEQUENTIAL_TRY(add_callers_headers(method, json_member(params, "headers"), request));
  }
  const std::string path_template =
      upload.empty() ? "/" + std::string(method.path) : std::string(method.upload);
  SEQUENTIAL_TRY(const std::string path, expand(method, path_template, members));
  SEQUENTIAL_TRY(std::string query, query_text(method, members));
  if (!upload.empty()) query += (query.empty() ? "uploadType=" : "&uploadType=") + upload;
  request.url = fill_host(endpoint, api_of(method).host) + path;
  if (!query.empty()) request.url += "?" + query;
  return request;
}

}  // namespace sequential::services::gapi
