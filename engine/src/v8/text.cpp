#include "text.h"

#include <algorithm>
#include <limits>

namespace sequential::engine::v8host {
namespace {

constexpr int kWriteFlags = v8::String::REPLACE_INVALID_UTF8 | v8::String::NO_NULL_TERMINATION;
constexpr std::size_t kUtf8BytesPerUnitMax = 3;
// Up to here the buffer is made for the worst case, which saves measuring the text first.
constexpr int kUnmeasuredUnitsMax = 4'096;

bool is_ascii(std::string_view text) {
  unsigned char seen = 0;
  for (const char c : text) seen |= static_cast<unsigned char>(c);
  return seen < 0x80;
}

}  // namespace

v8::Local<v8::String> literal(v8::Isolate* isolate, const char* text) {
  return v8::String::NewFromUtf8(isolate, text, v8::NewStringType::kInternalized).ToLocalChecked();
}

v8::MaybeLocal<v8::String> to_v8(v8::Isolate* isolate, std::string_view text) {
  if (text.size() > static_cast<std::size_t>(v8::String::kMaxLength)) return {};
  const int length = static_cast<int>(text.size());
  if (is_ascii(text)) {
    return v8::String::NewFromOneByte(isolate, reinterpret_cast<const std::uint8_t*>(text.data()),
                                      v8::NewStringType::kNormal, length);
  }
  return v8::String::NewFromUtf8(isolate, text.data(), v8::NewStringType::kNormal, length);
}

std::string to_utf8(v8::Isolate* isolate, v8::Local<v8::String> text) {
  std::string out;
  const int units = text->Length();
  const std::size_t room = units <= kUnmeasuredUnitsMax
                               ? static_cast<std::size_t>(units) * kUtf8BytesPerUnitMax
                               : static_cast<std::size_t>(text->Utf8Length(isolate));
  out.resize(std::min<std::size_t>(room, std::numeric_limits<int>::max()));
  const int written =
      text->WriteUtf8(isolate, out.data(), static_cast<int>(out.size()), nullptr, kWriteFlags);
  out.resize(static_cast<std::size_t>(written));
  return out;
}

std::string to_utf8_clipped(v8::Isolate* isolate, v8::Local<v8::String> text, std::size_t bytes_max,
                            bool& cut) {
  const int units = text->Length();
  std::string out;
  out.resize(std::min(static_cast<std::size_t>(units) * kUtf8BytesPerUnitMax, bytes_max));
  int units_written = 0;
  const int written = text->WriteUtf8(isolate, out.data(), static_cast<int>(out.size()),
                                      &units_written, kWriteFlags);
  out.resize(static_cast<std::size_t>(written));
  cut = units_written < units;
  return out;
}

bool json_deeper_than(std::string_view json, std::size_t depth_max) {
  if (json.size() < 2 * (depth_max + 1)) return false;
  std::size_t depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > depth_max) return true;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return false;
}

}  // namespace sequential::engine::v8host
