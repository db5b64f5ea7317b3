#pragma once
// Stacks of task code that came with a source map: `error.stack` names the author's file, line and
// column, for the task itself as for whoever reads its failure.
//
// V8 calls us when a stack is first read, only in isolates whose code has a map; without one
// nothing is different from V8's own stacks. The text depends on the code alone, so a replay
// repeats it.

#include <v8.h>

#include <memory>
#include <string>

#include "source_map.h"

namespace sequential::engine::v8host {

// From now on. `script_name` is the name that V8 knows the code by. A null map changes nothing.
void use_source_map(v8::Isolate* isolate, std::shared_ptr<SourceMap> map, std::string script_name);

}  // namespace sequential::engine::v8host
