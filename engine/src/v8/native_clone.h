#pragma once
// structuredClone by V8's own serializer.

#include <v8.h>

namespace sequential::engine::v8host {

// (value, array of ArrayBuffers to transfer) → [clone], or the text of a DataCloneError. Throws
// what getters of the value throw.
void native_structured_clone(const v8::FunctionCallbackInfo<v8::Value>& info);

}  // namespace sequential::engine::v8host
