#pragma once
// The decision core: what the end of a call or of a slice does to its run. Pure functions from what
// happened to what is to be written; no I/O, no clock, no randomness of their own.
//
// Threads: pure.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sequential/base/error.h"
#include "sequential/engine/runtime.h"
#include "sequential/services/service.h"
#include "sequential/storage/store.h"

namespace sequential::server {

struct CallDecision {
  storage::CallEnd end = storage::CallEnd::completed;
  std::string payload;
  Millis retry_after{0};
};

// `attempt` is the try that just ended; `random01` in [0, 1) spreads the retries.
CallDecision decide_call(services::CallReply reply, const storage::Work& work,
                         const services::CallPolicy& policy, std::int64_t payload_bytes_max,
                         double random01);

// The call was begun at most once before and must not be sent again.
CallDecision decide_unknown(const storage::Work& work);

// The server stops before the service has answered: the call is made again at once, by whoever
// claims it, if it may be.
CallDecision decide_interrupted(const storage::Work& work);

// The store will never take this call's outcome (Errc::internal): the call fails instead of being
// made again and again.
CallDecision decide_refused(const Error& refusal, const storage::Work& work);
// Nor what this slice did: the run fails.
void decide_refused(const Error& refusal, storage::SliceCommit& commit);

struct SliceFacts {
  storage::Grant root;
  std::int64_t delivered_through = 0;
  std::int64_t call_count = 0;
};

enum class SliceVerdict {
  commit,  // write `commit`
  lost,    // write `lost`: the engine died with the slice
  retry,   // nothing happened and nothing is to be written: run the slice again later
};
struct SliceDecision {
  SliceVerdict verdict = SliceVerdict::commit;
  storage::SliceCommit commit;  // without calls' delays and without handoff
  std::vector<std::int64_t> dropped;  // after the commit: calls that nobody waits for any more
  storage::SliceLost lost;
};

SliceDecision decide_slice(Result<engine::SliceResult> result, const SliceFacts& facts,
                           int crashes_max);

}  // namespace sequential::server
