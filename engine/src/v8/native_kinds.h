#pragma once
// Natives that tell what a value is without running any of the task's code.

#include <v8.h>

namespace sequential::engine::v8host {

void native_kind(const v8::FunctionCallbackInfo<v8::Value>& info);  // value → number
void native_promise_state(
    const v8::FunctionCallbackInfo<v8::Value>& info);  // promise → [state, value]
void native_boxed_value(const v8::FunctionCallbackInfo<v8::Value>& info);  // Object(1) → 1
void native_regexp_text(const v8::FunctionCallbackInfo<v8::Value>& info);  // regexp → "/a/g"

}  // namespace sequential::engine::v8host
