#pragma once
// Reads a run's journal from the store for a replay, page by page.

#include <memory>

#include "sequential/engine/runtime.h"
#include "sequential/storage/store.h"

namespace sequential::server {

// Outcomes recorded after `delivered_through` are left out: they belong to the next slice. The
// store outlives the source.
std::shared_ptr<engine::JournalSource> make_journal_source(storage::Store& store, TaskRunId run,
                                                           std::int64_t delivered_through,
                                                           std::int64_t page_bytes);

engine::Delivered to_delivered(storage::Outcome outcome);

}  // namespace sequential::server
