#pragma once
// Texts between C++ and V8. Nothing here runs task code.

#include <v8.h>

#include <cstddef>
#include <string>
#include <string_view>

namespace sequential::engine::v8host {

// A literal of ours; interned, so that property look-ups are pointer comparisons.
v8::Local<v8::String> literal(v8::Isolate* isolate, const char* text);

// Empty if the text is longer than a V8 string can be. Invalid UTF-8 becomes U+FFFD.
v8::MaybeLocal<v8::String> to_v8(v8::Isolate* isolate, std::string_view text);

// Lone surrogates become U+FFFD.
std::string to_utf8(v8::Isolate* isolate, v8::Local<v8::String> text);

// At most bytes_max bytes, cut between characters. `cut` tells whether something was left out.
std::string to_utf8_clipped(v8::Isolate* isolate, v8::Local<v8::String> text, std::size_t bytes_max,
                            bool& cut);

// Nesting of a valid JSON text, counted only as far as depth_max + 1.
bool json_deeper_than(std::string_view json, std::size_t depth_max);

}  // namespace sequential::engine::v8host
