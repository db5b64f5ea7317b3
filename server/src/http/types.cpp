#include "http/types.h"

#include <algorithm>
#include <cctype>
#include <charconv>

#include "sequential/base/json_text.h"

namespace sequential::server {
namespace {

constexpr std::size_t kNameShownMax = 64;  // bytes of a client's own word in our answer

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

bool equals_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
    return std::tolower(static_cast<unsigned char>(x)) ==
           std::tolower(static_cast<unsigned char>(y));
  });
}

const char* title_of(int status) {
  switch (status) {
    case 400: return "Bad request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not found";
    case 405: return "Method not allowed";
    case 409: return "Conflict";
    case 413: return "Too large";
    case 422: return "Cannot be processed";
    case 429: return "Too many requests";
    case 431: return "Header too large";
    case 503: return "Not available now";
    case 507: return "Out of space";
    default: return status >= 500 ? "Server error" : "Request refused";
  }
}

}  // namespace

Result<std::string> percent_decode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out.push_back(text[i]);
      continue;
    }
    const int high = i + 2 < text.size() ? hex_value(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? hex_value(text[i + 2]) : -1;
    if (high < 0 || low < 0) return Error{Errc::bad_request, "the URL has a malformed % escape"};
    const char c = static_cast<char>(high * 16 + low);
    if (c == '\0') return Error{Errc::bad_request, "the URL holds a NUL"};
    out.push_back(c);
    i += 2;
  }
  if (!is_valid_utf8(out)) return Error{Errc::bad_request, "the URL is not UTF-8"};
  return out;
}

Result<std::vector<std::string>> split_path(std::string_view path) {
  if (path.empty() || path.front() != '/') {
    return Error{Errc::bad_request, "the request target must begin with /"};
  }
  std::vector<std::string> segments;
  path.remove_prefix(1);
  while (!path.empty()) {
    const auto slash = std::min(path.find('/'), path.size());
    SEQUENTIAL_TRY(auto segment, percent_decode(path.substr(0, slash)));
    if (segment.empty() || segment == "." || segment == ".." ||
        segment.find('/') != std::string::npos) {
      return Error{Errc::bad_request, "the path has an empty, dotted or escaped segment"};
    }
    segments.push_back(std::move(segment));
    path.remove_prefix(std::min(slash + 1, path.size()));
  }
  return segments;
}

std::string query_value(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    const auto end = std::min(query.find('&'), query.size());
    const auto pair = query.substr(0, end);
    const auto equals = std::min(pair.find('='), pair.size());
    if (pair.substr(0, equals) == name && equals < pair.size()) {
      std::string text(pair.substr(equals + 1));
      std::replace(text.begin(), text.end(), '+', ' ');
      auto decoded = percent_decode(text);
      return decoded.has_value() ? std::move(decoded).value() : std::string{};
    }
    query.remove_prefix(std::min(end + 1, query.size()));
  }
  return {};
}

Result<void> check_query(std::string_view query, const std::vector<std::string_view>& known) {
  while (!query.empty()) {
    const auto end = std::min(query.find('&'), query.size());
    const auto pair = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    if (pair.empty()) continue;
    const auto equals = std::min(pair.find('='), pair.size());
    SEQUENTIAL_TRY(const auto name, percent_decode(pair.substr(0, equals)));
    SEQUENTIAL_TRY(percent_decode(pair.substr(std::min(equals + 1, pair.size()))));
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    std::string names;
    for (const auto one : known) names += (names.empty() ? "" : ", ") + std::string(one);
    const std::string rest = known.empty() ? "it takes none" : "there are: " + names;
    return Error{Errc::invalid_field,
                 clip_utf8(name, kNameShownMax) + " is not a query parameter of this path; " + rest,
                 clip_utf8(name, kNameShownMax)};
  }
  return success();
}

std::string_view unquoted(std::string_view header) {
  const bool quoted = header.size() >= 2 && header.front() == '"' && header.back() == '"';
  return quoted ? header.substr(1, header.size() - 2) : header;
}

Preferences parse_prefer(std::string_view header) {
  Preferences preferences;
  while (!header.empty()) {
    const auto end = std::min(header.find(','), header.size());
    const auto item = trim(header.substr(0, end));
    header.remove_prefix(std::min(end + 1, header.size()));
    const auto equals = item.find('=');
    const auto name = trim(item.substr(0, std::min(equals, item.size())));
    if (equals_ignoring_case(name, "respond-async")) preferences.respond_async = true;
    if (!equals_ignoring_case(name, "wait") || equals == std::string_view::npos) continue;
    const auto value = unquoted(trim(item.substr(equals + 1)));
    int seconds = -1;
    const auto [rest, error] = std::from_chars(value.data(), value.data() + value.size(), seconds);
    const bool whole = error == std::errc{} && rest == value.data() + value.size();
    if (whole && seconds >= 0) preferences.wait_s = seconds;
  }
  return preferences;
}

HttpResponse json_response(int status, std::string body) {
  HttpResponse response;
  response.status = status;
  response.body = std::move(body);
  return response;
}

HttpResponse problem(const Error& error) {
  HttpResponse response;
  response.status = http_status(error.code);
  response.content_type = "application/problem+json";
  const auto code = error_code_name(error.code);
  JsonObject body;
  body.string("type", "/errors/" + std::string(code))
      .string("title", title_of(response.status))
      .number("status", response.status)
      .string("code", code)
      .string("detail", error.message);
  if (!error.field.empty()) body.string("field", error.field);
  response.body = std::move(body).text();
  if (error.detail.size() > 2 && error.detail.front() == '{') {
    response.body.back() = ',';  // extension members (RFC 9457 §3.2), e.g. line and column
    response.body.append(error.detail, 1, std::string::npos);
  }
  if (response.status == 503 || response.status == 429) {
    response.headers.emplace_back("Retry-After", "1");
  }
  return response;
}

}  // namespace sequential::server
