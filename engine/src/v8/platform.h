#pragma once
// Platform: V8 in this process, started once with the flags that snapshots and determinism rest on
// (docs/decisions/0010-engine-v8-flags.md).
//
// Threads: construct on the main thread before anything else of V8; V8's worker threads exist when
// the constructor returns. Lifetime: destroyed after the last isolate.

#include <libplatform/libplatform.h>
#include <v8.h>

#include <cstdint>
#include <memory>
#include <string>

namespace sequential::engine::v8host {

enum class Jit { on, off };

class Platform {
 public:
  explicit Platform(Jit jit);
  Platform(const Platform&) = delete;
  Platform& operator=(const Platform&) = delete;
  ~Platform();

  v8::Platform* get() const { return platform_.get(); }

  // Runs what V8 wants done on the isolate's thread between slices.
  void pump(v8::Isolate* isolate) const;

 private:
  std::unique_ptr<v8::Platform> platform_;
};

// The flags that a snapshot depends on: part of its identity.
std::string snapshot_flags();

}  // namespace sequential::engine::v8host
