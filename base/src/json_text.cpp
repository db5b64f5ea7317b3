#include "sequential/base/json_text.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "json_scan.h"

namespace sequential {
namespace {

using json_scan::byte_at;

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

void append_utf8(std::string& out, std::uint32_t code) {
  const auto put = [&out](std::uint32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | code >> 6);
    put(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    put(0xE0 | code >> 12);
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  } else {
    put(0xF0 | code >> 18);
    put(0x80 | (code >> 12 & 0x3F));
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  }
}

void append_escaped(std::string& out, unsigned char c) {
  constexpr char digits[] = "0123456789abcdef";
  switch (c) {
    case '"': out += "\\\""; return;
    case '\\': out += "\\\\"; return;
    case '\b': out += "\\b"; return;
    case '\f': out += "\\f"; return;
    case '\n': out += "\\n"; return;
    case '\r': out += "\\r"; return;
    case '\t': out += "\\t"; return;
    default:
      out += "\\u00";
      out.push_back(digits[c >> 4]);
      out.push_back(digits[c & 15]);
  }
}

// The end of the literal whose opening quote is at `at`, or npos.
std::size_t skip_string(std::string_view text, std::size_t at) {
  ++at;
  while (at < text.size()) {
    at = json_scan::skip_plain(text, at);
    if (at >= text.size()) break;
    const unsigned char c = byte_at(text, at);
    if (c == '"') return at + 1;
    at += c == '\\' ? 2 : 1;
  }
  return std::string_view::npos;
}

// The end of the value at `at` in a text known to be valid, or npos if it is not.
std::size_t skip_value(std::string_view text, std::size_t at) {
  std::size_t depth = 0;
  while (at < text.size()) {
    const unsigned char c = byte_at(text, at);
    if (c == '"') {
      at = skip_string(text, at);
      if (at == std::string_view::npos || depth == 0) return at;
      continue;
    }
    if (c == '{' || c == '[') ++depth;
    if (c == '}' || c == ']') {
      if (depth == 0) return at;  // the end of what holds a scalar
      if (--depth == 0) return at + 1;
    }
    if (depth == 0 && (c == ',' || json_scan::is_space(c))) return at;
    ++at;
  }
  return depth == 0 ? at : std::string_view::npos;
}

bool same_key(std::string_view literal_body, std::string_view key) {
  if (literal_body.find('\\') == std::string_view::npos) return literal_body == key;
  return json_scan::decode_string(literal_body) == key;
}

}  // namespace

std::string json_scan::decode_string(std::string_view body) {
  std::string out;
  out.reserve(body.size());
  std::size_t at = 0;
  while (at < body.size()) {
    if (body[at] != '\\' || at + 1 == body.size()) {
      out.push_back(body[at++]);
      continue;
    }
    const char kind = body[at + 1];
    at += 2;
    switch (kind) {
      case 'b': out.push_back('\b'); continue;
      case 'f': out.push_back('\f'); continue;
      case 'n': out.push_back('\n'); continue;
      case 'r': out.push_back('\r'); continue;
      case 't': out.push_back('\t'); continue;
      case 'u': break;
      default: out.push_back(kind); continue;
    }
    const int unit = json_scan::hex4(body, at);
    if (unit < 0) return out;
    at += 4;
    auto code = static_cast<std::uint32_t>(unit);
    if (code >= 0xD800 && code < 0xDC00 && body.substr(at, 2) == "\\u") {
      const int low = json_scan::hex4(body, at + 2);
      if (low >= 0xDC00 && low < 0xE000) {
        code = 0x10000 + ((code - 0xD800) << 10) + (static_cast<std::uint32_t>(low) - 0xDC00);
        at += 6;
      }
    }
    append_utf8(out, code);
  }
  return out;
}

void append_json_string(std::string& out, std::string_view text) {
  out.push_back('"');
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t plain = json_scan::skip_plain(text, at);
    out.append(text, at, plain - at);
    at = plain;
    if (at == text.size()) break;
    const unsigned char c = byte_at(text, at);
    if (c < 0x80) {
      append_escaped(out, c);
      ++at;
      continue;
    }
    const std::size_t length = json_scan::utf8_length(text, at);
    if (length == 0) {
      out += kReplacement;
      ++at;
    } else {
      out.append(text, at, length);
      at += length;
    }
  }
  out.push_back('"');
}

std::string json_string(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 2);
  append_json_string(out, text);
  return out;
}

std::string clip_utf8(std::string_view text, std::size_t bytes_max) {
  constexpr std::string_view ellipsis = "\xE2\x80\xA6";
  std::string out;
  std::size_t fits = 0;  // length of `out` to which the ellipsis can still be added
  std::string piece;
  for (std::size_t at = 0; at < text.size();) {
    const unsigned char c = byte_at(text, at);
    const std::size_t length = json_scan::utf8_length(text, at);
    piece.clear();
    if (length == 0) {
      piece = kReplacement;
    } else if (c < 0x20 || c == 0x7f) {
      append_escaped(piece, c);
    } else if (c == 0xC2 && byte_at(text, at + 1) < 0xA0) {
      append_escaped(piece, byte_at(text, at + 1));  // U+0080…9F, which terminals obey too
    } else {
      piece = text.substr(at, length);
    }
    if (out.size() + piece.size() > bytes_max) {
      if (bytes_max < ellipsis.size()) return out;
      out.resize(fits);
      return out.append(ellipsis);
    }
    out += piece;
    if (out.size() + ellipsis.size() <= bytes_max) fits = out.size();
    at += length == 0 ? 1 : length;
  }
  return out;
}

std::string_view json_member(std::string_view object_text, std::string_view key) {
  std::string_view found;
  std::size_t at = json_scan::skip_space(object_text, 0);
  if (at == object_text.size() || object_text[at] != '{') return found;
  at = json_scan::skip_space(object_text, at + 1);
  while (at < object_text.size() && object_text[at] == '"') {
    const std::size_t key_end = skip_string(object_text, at);
    if (key_end == std::string_view::npos) return {};
    const std::string_view name = object_text.substr(at + 1, key_end - at - 2);
    at = json_scan::skip_space(object_text, key_end);
    if (at == object_text.size() || object_text[at] != ':') return {};
    at = json_scan::skip_space(object_text, at + 1);
    const std::size_t end = skip_value(object_text, at);
    if (end == std::string_view::npos) return {};
    if (same_key(name, key)) found = object_text.substr(at, end - at);
    at = json_scan::skip_space(object_text, end);
    if (at == object_text.size() || object_text[at] != ',') break;
    at = json_scan::skip_space(object_text, at + 1);
  }
  return found;
}

void JsonObject::key(std::string_view name) {
  if (out_.size() > 1) out_.push_back(',');
  append_json_string(out_, name);
  out_.push_back(':');
}

JsonObject& JsonObject::string(std::string_view name, std::string_view value) {
  key(name);
  append_json_string(out_, value);
  return *this;
}

JsonObject& JsonObject::raw(std::string_view name, std::string_view json) {
  key(name);
  out_ += json.empty() ? std::string_view("null") : json;
  return *this;
}

JsonObject& JsonObject::number(std::string_view name, std::int64_t value) {
  key(name);
  out_ += std::to_string(value);
  return *this;
}

JsonObject& JsonObject::boolean(std::string_view name, bool value) {
  key(name);
  out_ += value ? "true" : "false";
  return *this;
}

JsonObject& JsonObject::null(std::string_view name) {
  key(name);
  out_ += "null";
  return *this;
}

std::string JsonObject::text() && {
  out_.push_back('}');
  return std::move(out_);
}

}  // namespace sequential
