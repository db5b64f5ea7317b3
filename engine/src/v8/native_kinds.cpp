#include "native_kinds.h"

#include <array>
#include <utility>

#include "text.h"

namespace sequential::engine::v8host {
namespace {

// 50_inspect.js has the same list.
enum Kind {
  kOther,
  kProxy,
  kArray,
  kFunction,
  kError,
  kDate,
  kRegExp,
  kMap,
  kSet,
  kPromise,
  kArrayBuffer,
  kTypedArray,
  kDataView,
  kWeakCollection,
  kBoxed,
  kGenerator,
};

Kind kind_of(v8::Local<v8::Value> value) {
  if (value->IsProxy()) return kProxy;
  if (value->IsArray()) return kArray;
  if (value->IsFunction()) return kFunction;
  if (value->IsNativeError()) return kError;
  if (value->IsDate()) return kDate;
  if (value->IsRegExp()) return kRegExp;
  if (value->IsMap()) return kMap;
  if (value->IsSet()) return kSet;
  if (value->IsPromise()) return kPromise;
  if (value->IsArrayBuffer()) return kArrayBuffer;
  if (value->IsTypedArray()) return kTypedArray;
  if (value->IsDataView()) return kDataView;
  if (value->IsWeakMap() || value->IsWeakSet()) return kWeakCollection;
  if (value->IsNumberObject() || value->IsStringObject() || value->IsBooleanObject() ||
      value->IsBigIntObject() || value->IsSymbolObject()) {
    return kBoxed;
  }
  if (value->IsGeneratorObject()) return kGenerator;
  return kOther;
}

constexpr std::array kRegExpFlags = {
    std::pair{v8::RegExp::kHasIndices, 'd'}, std::pair{v8::RegExp::kGlobal, 'g'},
    std::pair{v8::RegExp::kIgnoreCase, 'i'}, std::pair{v8::RegExp::kMultiline, 'm'},
    std::pair{v8::RegExp::kDotAll, 's'},     std::pair{v8::RegExp::kUnicode, 'u'},
    std::pair{v8::RegExp::kSticky, 'y'},
};

}  // namespace

void native_kind(const v8::FunctionCallbackInfo<v8::Value>& info) {
  info.GetReturnValue().Set(static_cast<int>(kind_of(info[0])));
}

void native_promise_state(const v8::FunctionCallbackInfo<v8::Value>& info) {
  v8::Isolate* const isolate = info.GetIsolate();
  const auto promise = info[0].As<v8::Promise>();
  const auto state = promise->State();
  const bool pending = state == v8::Promise::kPending;
  std::array<v8::Local<v8::Value>, 2> parts = {
      v8::Integer::New(isolate, static_cast<int>(state)),
      pending ? v8::Undefined(isolate).As<v8::Value>() : promise->Result()};
  info.GetReturnValue().Set(v8::Array::New(isolate, parts.data(), parts.size()));
}

void native_boxed_value(const v8::FunctionCallbackInfo<v8::Value>& info) {
  v8::Isolate* const isolate = info.GetIsolate();
  const auto value = info[0];
  if (value->IsNumberObject()) {
    info.GetReturnValue().Set(v8::Number::New(isolate, value.As<v8::NumberObject>()->ValueOf()));
  } else if (value->IsStringObject()) {
    info.GetReturnValue().Set(value.As<v8::StringObject>()->ValueOf());
  } else if (value->IsBooleanObject()) {
    info.GetReturnValue().Set(value.As<v8::BooleanObject>()->ValueOf());
  } else if (value->IsBigIntObject()) {
    info.GetReturnValue().Set(value.As<v8::BigIntObject>()->ValueOf());
  } else if (value->IsSymbolObject()) {
    info.GetReturnValue().Set(value.As<v8::SymbolObject>()->ValueOf());
  }
}

void native_regexp_text(const v8::FunctionCallbackInfo<v8::Value>& info) {
  v8::Isolate* const isolate = info.GetIsolate();
  const auto regexp = info[0].As<v8::RegExp>();
  std::string flags = "/";
  for (const auto& [flag, letter] : kRegExpFlags) {
    if ((regexp->GetFlags() & flag) != 0) flags += letter;
  }
  auto text = v8::String::Concat(isolate, literal(isolate, "/"), regexp->GetSource());
  v8::Local<v8::String> tail;
  if (!to_v8(isolate, flags).ToLocal(&tail)) return;
  info.GetReturnValue().Set(v8::String::Concat(isolate, text, tail));
}

}  // namespace sequential::engine::v8host
