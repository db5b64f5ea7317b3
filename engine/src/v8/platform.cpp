#include "platform.h"

#include <malloc.h>

#include <cstdlib>

namespace sequential::engine::v8host {
namespace {

constexpr int kWorkerThreads = 1;  // concurrent marking and compilation
constexpr int kTasksPumpedMax = 16;

// Seeds are fixed so that equal states give equal snapshots on every node.
constexpr const char* kFlags =
    // The same library in every kind of isolate; no shared memory, no machine code from the task.
    "--no-expose-wasm --no-validate-asm --no-harmony-sharedarraybuffer"
#if V8_MAJOR_VERSION == 10
    " --no-harmony-atomics"
    " --no-harmony-relative-indexing-methods --no-harmony-object-has-own"
    " --no-harmony-array-find-last"
#else
    " --no-harmony-change-array-by-copy --no-harmony-rab-gsab --no-harmony-regexp-unicode-sets"
    " --no-harmony-intl-number-format-v3"
#endif
    // Stack positions that survive a snapshot.
    " --no-enable-lazy-source-positions"
    // The blob carries a checksum of ours, verified once instead of at every isolate.
    " --no-verify-snapshot-checksum"
    " --hash-seed=1592654011 --random-seed=1592654011";

}  // namespace

std::string snapshot_flags() { return kFlags; }

Platform::Platform(Jit jit) {
  ::setenv("TZ", "UTC", 1);
  // One arena: glibc reads a file of /proc before it shrinks a thread's own arena, which the
  // sandbox forbids, and memory returns sooner.
  ::mallopt(M_ARENA_MAX, 1);
  platform_ = v8::platform::NewDefaultPlatform(kWorkerThreads);
  v8::V8::InitializePlatform(platform_.get());
  v8::V8::SetFlagsFromString(kFlags);
  if (jit == Jit::off) v8::V8::SetFlagsFromString("--jitless");
  v8::V8::Initialize();
}

Platform::~Platform() {
  v8::V8::Dispose();
  v8::V8::DisposePlatform();
}

void Platform::pump(v8::Isolate* isolate) const {
  for (int i = 0; i < kTasksPumpedMax; ++i) {
    if (!v8::platform::PumpMessageLoop(platform_.get(), isolate)) return;
  }
}

}  // namespace sequential::engine::v8host
