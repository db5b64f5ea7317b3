#pragma once
// Natives for texts as bytes: UTF-8, UTF-16, windows-1252, base64 (WHATWG Encoding and Infra).

#include <v8.h>

#include <cstddef>

namespace sequential::engine::v8host {

// A new buffer of the isolate's budget. Empty with a RangeError pending when that is used up (V8's
// own ArrayBuffer::New would end the process).
v8::MaybeLocal<v8::ArrayBuffer> new_buffer(v8::Isolate* isolate, std::size_t length);

void native_utf8_encode(const v8::FunctionCallbackInfo<v8::Value>& info);  // text → Uint8Array
// (encoding, buffer, offset, length, fatal) → text, or undefined if fatal and malformed
void native_decode_text(const v8::FunctionCallbackInfo<v8::Value>& info);
void native_base64_encode(const v8::FunctionCallbackInfo<v8::Value>& info);  // Uint8Array → text
void native_base64_decode(const v8::FunctionCallbackInfo<v8::Value>& info);  // text → Uint8Array
void native_btoa(const v8::FunctionCallbackInfo<v8::Value>& info);  // text → text | undefined
void native_atob(const v8::FunctionCallbackInfo<v8::Value>& info);  // text → text | undefined

}  // namespace sequential::engine::v8host
