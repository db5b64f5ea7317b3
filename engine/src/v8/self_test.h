#pragma once
// Whether the V8 at hand does what the engine rests on: checked at build time and by packagers.

#include "base_blob.h"
#include "platform.h"
#include "sequential/base/error.h"

namespace sequential::engine::v8host {

Result<void> run_self_test(const Platform& platform, BaseBlob& base);

}  // namespace sequential::engine::v8host
