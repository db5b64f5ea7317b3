#include "native_bytes.h"

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "natives.h"
#include "sequential/base/json_text.h"
#include "text.h"

namespace sequential::engine::v8host {
namespace {

using Info = v8::FunctionCallbackInfo<v8::Value>;

// 70_web.js has the same list.
enum Encoding { kUtf8 = 0, kUtf16le = 1, kUtf16be = 2, kWindows1252 = 3 };

void throw_range_error(v8::Isolate* isolate, const char* message) {
  isolate->ThrowException(v8::Exception::RangeError(literal(isolate, message)));
}

void set_text(const Info& info, v8::MaybeLocal<v8::String> text) {
  v8::Local<v8::String> result;
  if (text.ToLocal(&result)) {
    info.GetReturnValue().Set(result);
  } else {
    throw_range_error(info.GetIsolate(), "Invalid string length");
  }
}

// The bytes of a Uint8Array or of an ArrayBuffer, valid while no script runs.
std::string_view view_of(v8::Local<v8::ArrayBuffer> buffer, std::size_t offset,
                         std::size_t length) {
  const auto store = buffer->GetBackingStore();
  if (store->Data() == nullptr || offset > store->ByteLength()) return {};
  if (length > store->ByteLength() - offset) length = store->ByteLength() - offset;
  return {static_cast<const char*>(store->Data()) + offset, length};
}

constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

std::string encode_base64(std::string_view bytes) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  const auto byte = [&](std::size_t i) {
    return i < bytes.size() ? static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[i])) : 0u;
  };
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::uint32_t group = byte(i) << 16 | byte(i + 1) << 8 | byte(i + 2);
    out += kAlphabet[group >> 18];
    out += kAlphabet[group >> 12 & 63];
    out += i + 1 < bytes.size() ? kAlphabet[group >> 6 & 63] : '=';
    out += i + 2 < bytes.size() ? kAlphabet[group & 63] : '=';
  }
  return out;
}

constexpr std::array<std::int8_t, 256> kDecode = [] {
  std::array<std::int8_t, 256> table{};
  table.fill(-1);
  for (std::size_t i = 0; i < kAlphabet.size(); ++i) {
    table[static_cast<unsigned char>(kAlphabet[i])] = static_cast<std::int8_t>(i);
  }
  return table;
}();

// WHATWG "forgiving-base64 decode".
std::optional<std::string> decode_base64(std::string_view text) {
  std::string digits;
  digits.reserve(text.size());
  for (const char c : text) {
    if (c != ' ' && c != '\t' && c != '\n' && c != '\f' && c != '\r') digits += c;
  }
  if (digits.size() % 4 == 0) {
    for (int i = 0; i < 2 && !digits.empty() && digits.back() == '='; ++i) digits.pop_back();
  }
  if (digits.size() % 4 == 1) return std::nullopt;
  std::string out;
  out.reserve(digits.size() * 3 / 4);
  std::uint32_t group = 0;
  int bits = 0;
  for (const char c : digits) {
    const int value = kDecode[static_cast<unsigned char>(c)];
    if (value < 0) return std::nullopt;
    group = group << 6 | static_cast<std::uint32_t>(value);
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      out += static_cast<char>(group >> bits & 0xff);
    }
  }
  return out;
}

// Each character as one byte; nullopt if one does not fit.
std::optional<std::string> latin1_bytes(v8::Isolate* isolate, v8::Local<v8::String> text) {
  if (!text->ContainsOnlyOneByte()) return std::nullopt;
  std::string bytes(static_cast<std::size_t>(text->Length()), '\0');
  text->WriteOneByte(isolate, reinterpret_cast<std::uint8_t*>(bytes.data()), 0, text->Length(),
                     v8::String::NO_NULL_TERMINATION);
  return bytes;
}

v8::MaybeLocal<v8::String> from_latin1(v8::Isolate* isolate, std::string_view bytes) {
  if (bytes.size() > static_cast<std::size_t>(v8::String::kMaxLength)) return {};
  return v8::String::NewFromOneByte(isolate, reinterpret_cast<const std::uint8_t*>(bytes.data()),
                                    v8::NewStringType::kNormal, static_cast<int>(bytes.size()));
}

v8::MaybeLocal<v8::Uint8Array> new_bytes(v8::Isolate* isolate, std::string_view bytes) {
  v8::Local<v8::ArrayBuffer> buffer;
  if (!new_buffer(isolate, bytes.size()).ToLocal(&buffer)) return {};
  if (!bytes.empty()) std::memcpy(buffer->GetBackingStore()->Data(), bytes.data(), bytes.size());
  return v8::Uint8Array::New(buffer, 0, bytes.size());
}

// What windows-1252 has where Latin-1 has control characters (WHATWG index, 0x80 … 0x9F).
constexpr std::array<std::uint16_t, 32> kWindows1252High = {
    0x20AC, 0x0081, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160,
    0x2039, 0x0152, 0x008D, 0x017D, 0x008F, 0x0090, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022,
    0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x009D, 0x017E, 0x0178};

std::u16string decode_windows1252(std::string_view bytes) {
  std::u16string out;
  out.reserve(bytes.size());
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    out += byte >= 0x80 && byte < 0xA0 ? static_cast<char16_t>(kWindows1252High[byte - 0x80u])
                                       : static_cast<char16_t>(byte);
  }
  return out;
}

// nullopt if `fatal` and there is a lone surrogate or half a unit.
std::optional<std::u16string> decode_utf16(std::string_view bytes, bool big_endian, bool fatal) {
  constexpr char16_t kReplacement = 0xFFFD;
  std::u16string out;
  out.reserve(bytes.size() / 2 + 1);
  const auto unit_at = [&](std::size_t i) {
    const auto a = static_cast<unsigned char>(bytes[i]);
    const auto b = static_cast<unsigned char>(bytes[i + 1]);
    return static_cast<char16_t>(big_endian ? a << 8 | b : b << 8 | a);
  };
  const auto is_high = [](char16_t u) { return (u & 0xFC00) == 0xD800; };
  const auto is_low = [](char16_t u) { return (u & 0xFC00) == 0xDC00; };
  std::size_t i = 0;
  for (; i + 1 < bytes.size(); i += 2) {
    const char16_t unit = unit_at(i);
    if (is_high(unit) && i + 3 < bytes.size() && is_low(unit_at(i + 2))) {
      out += unit;
      out += unit_at(i + 2);
      i += 2;
    } else if (is_high(unit) || is_low(unit)) {
      if (fatal) return std::nullopt;
      out += kReplacement;
    } else {
      out += unit;
    }
  }
  if (i < bytes.size()) {
    if (fatal) return std::nullopt;
    out += kReplacement;
  }
  return out;
}

v8::MaybeLocal<v8::String> from_utf16(v8::Isolate* isolate, const std::u16string& text) {
  if (text.size() > static_cast<std::size_t>(v8::String::kMaxLength)) return {};
  return v8::String::NewFromTwoByte(isolate, reinterpret_cast<const std::uint16_t*>(text.data()),
                                    v8::NewStringType::kNormal, static_cast<int>(text.size()));
}

}  // namespace

v8::MaybeLocal<v8::ArrayBuffer> new_buffer(v8::Isolate* isolate, std::size_t length) {
  BudgetAllocator* const allocator = host_of(isolate).allocator;
  void* const data = allocator->Allocate(length);
  if (data == nullptr) {
    throw_range_error(isolate, "Array buffer allocation failed");
    return {};
  }
  auto store = v8::ArrayBuffer::NewBackingStore(
      data, length,
      [](void* bytes, std::size_t count, void* owner) {
        static_cast<BudgetAllocator*>(owner)->Free(bytes, count);
      },
      allocator);
  return v8::ArrayBuffer::New(isolate, std::move(store));
}

void native_utf8_encode(const Info& info) {
  v8::Isolate* const isolate = info.GetIsolate();
  const auto text = info[0].As<v8::String>();
  const auto length = static_cast<std::size_t>(text->Utf8Length(isolate));
  v8::Local<v8::ArrayBuffer> buffer;
  if (!new_buffer(isolate, length).ToLocal(&buffer)) return;
  if (length > 0) {
    text->WriteUtf8(isolate, static_cast<char*>(buffer->GetBackingStore()->Data()),
                    static_cast<int>(length), nullptr,
                    v8::String::REPLACE_INVALID_UTF8 | v8::String::NO_NULL_TERMINATION);
  }
  info.GetReturnValue().Set(v8::Uint8Array::New(buffer, 0, length));
}

void native_decode_text(const Info& info) {
  v8::Isolate* const isolate = info.GetIsolate();
  const auto number = [&](int i) { return info[i].As<v8::Number>()->Value(); };
  const auto encoding = static_cast<Encoding>(static_cast<int>(number(0)));
  const bool fatal = info[4]->IsTrue();
  const std::string_view bytes =
      view_of(info[1].As<v8::ArrayBuffer>(), static_cast<std::size_t>(number(2)),
              static_cast<std::size_t>(number(3)));
  switch (encoding) {
    case kUtf8:
      if (!fatal || is_valid_utf8(bytes)) set_text(info, to_v8(isolate, bytes));
      return;
    case kUtf16le:
    case kUtf16be:
      if (const auto text = decode_utf16(bytes, encoding == kUtf16be, fatal)) {
        set_text(info, from_utf16(isolate, *text));
      }
      return;
    case kWindows1252:
      set_text(info, from_utf16(isolate, decode_windows1252(bytes)));
      return;
  }
}

void native_base64_encode(const Info& info) {
  const auto array = info[0].As<v8::Uint8Array>();
  const auto bytes = view_of(array->Buffer(), array->ByteOffset(), array->ByteLength());
  set_text(info, to_v8(info.GetIsolate(), encode_base64(bytes)));
}

void native_base64_decode(const Info& info) {
  v8::Isolate* const isolate = info.GetIsolate();
  const auto text = latin1_bytes(isolate, info[0].As<v8::String>());
  const auto bytes = text ? decode_base64(*text) : std::nullopt;
  v8::Local<v8::Uint8Array> array;
  if (bytes && new_bytes(isolate, *bytes).ToLocal(&array)) info.GetReturnValue().Set(array);
}

void native_btoa(const Info& info) {
  v8::Isolate* const isolate = info.GetIsolate();
  const auto bytes = latin1_bytes(isolate, info[0].As<v8::String>());
  if (bytes) set_text(info, to_v8(isolate, encode_base64(*bytes)));
}

void native_atob(const Info& info) {
  v8::Isolate* const isolate = info.GetIsolate();
  const auto text = latin1_bytes(isolate, info[0].As<v8::String>());
  const auto bytes = text ? decode_base64(*text) : std::nullopt;
  if (bytes) set_text(info, from_latin1(isolate, *bytes));
}

}  // namespace sequential::engine::v8host
