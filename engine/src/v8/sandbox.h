#pragma once
// Sandbox: what the kernel enforces on this process before any task code runs. V8's isolates are no
// security boundary; this is, together with the broker's kill.
//
//   early   before threads exist: namespaces, no new privileges, not dumpable, dies with the broker
//   late    after V8 and all threads have started: rlimits, capabilities, seccomp for every thread
//
// Namespaces are taken where the kernel allows them; everything else must succeed.

#include <cstdint>
#include <string>

#include "platform.h"
#include "sequential/base/error.h"

namespace sequential::engine::v8host {

struct SandboxReport {
  std::string namespaces;  // those that were entered, e.g. "user net ipc"
};

// Errors: internal, if what must succeed does not.
Result<SandboxReport> enter_sandbox_early();
Result<void> enter_sandbox_late(std::int64_t data_bytes_max, Jit jit);

}  // namespace sequential::engine::v8host
