#pragma once
// What a rewind does to a run's signals and webhooks.

#include <string>

#include "sequential/storage/rewinds.h"
#include "sqlite/transaction.h"

namespace sequential::storage::sqlite {

// What calls that are removed or made again did is undone; they are there still. `again`: which of
// those kept are made again; ?1 is the run, ?2 the calls kept, ?3 the position, ?4 the call named,
// ?5 `given_up`, the calls given up by then.
void rewind_signals(Transaction& tx, const Retry& retry, const std::string& again,
                    const std::string& given_up);

// A fork that cannot be for its webhooks.
Result<void> check_webhooks(Transaction& tx, const Fork& fork);

// The fork's copies of its source's webhooks, and its waits.
void fork_signals(Transaction& tx, const Fork& fork, TaskRunId run, WallTime now);

}  // namespace sequential::storage::sqlite
