#pragma once
// What an engine says about a slice, checked as runtime.h promises under "Trust": shape, sizes,
// UTF-8, JSON validity and contiguous call numbers. Threads: pure functions.

#include <cstdint>
#include <optional>

#include "sequential/base/error.h"
#include "sequential/engine/limits.h"
#include "sequential/engine/protocol.h"
#include "sequential/engine/runtime.h"

namespace sequential::engine::pool {

// `done` is an answer that has a result (neither not_warm nor retry_alone) to a slice that began
// with `calls_recorded` calls. Errors: corrupt, naming the violation.
Result<SliceResult> to_slice_result(protocol::SliceDone&& done, std::int64_t calls_recorded,
                                    const Limits& limits);

// nullopt if the code is good. Errors: corrupt.
Result<std::optional<CodeProblem>> to_code_problem(protocol::Checked&& checked,
                                                   const Limits& limits);

}  // namespace sequential::engine::pool
