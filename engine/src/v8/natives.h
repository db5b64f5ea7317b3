#pragma once
// The native functions of the bootstrap (`$` there) and the external reference table.
//
// The table is append-only: a snapshot names a native by its position in it, so a changed order
// would call the wrong function. New natives go at its end.

#include <v8.h>

#include <cstdint>
#include <memory>
#include <string>

#include "allocator.h"
#include "effects.h"
#include "source_map.h"

namespace sequential::engine::v8host {

// What the natives find through the isolate (data slot 0). One per isolate.
struct IsolateHost {
  BudgetAllocator* allocator = nullptr;
  Effects* effects = nullptr;  // of the slice under way; null: what is done is dropped
  v8::Global<v8::UnboundScript> url_script;  // compiled when first asked for
  std::shared_ptr<SourceMap> source_map;     // of the task's code; null: it has none
  std::string script_name;                   // of the task's code, if it has a map
};

inline IsolateHost& host_of(v8::Isolate* isolate) {
  return *static_cast<IsolateHost*>(isolate->GetData(0));
}

// Null-terminated, for CreateParams and SnapshotCreator.
const std::intptr_t* external_references();
// Number and names of the entries, in order: what must be equal for a snapshot to be usable.
std::string external_reference_names();

// The object of natives that the bootstrap is called with.
v8::Local<v8::Object> make_natives(v8::Local<v8::Context> context);

}  // namespace sequential::engine::v8host
