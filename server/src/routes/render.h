#pragma once
// Records as JSON texts. Payloads are spliced in as they are stored.

#include <string>
#include <string_view>
#include <vector>

#include "sequential/storage/records.h"
#include "sequential/storage/run_states.h"
#include "sequential/storage/run_view.h"
#include "sequential/storage/store.h"

namespace sequential::server {

std::string iso_time(WallTime time);  // 2026-11-21T20:52:01.123Z

// With input, result, error and what else is known of it.
std::string render_run(const storage::RunView& view);
// Without input; a large result or error is left out, and its length said.
std::string render_end(const storage::TaskRun& run, const storage::RunState& state);
std::string render_state(const storage::RunState& state);
// Without all that, but perhaps with its progress; `in_queue`: it waits to be admitted.
std::string render_run_summary(const storage::TaskRun& run, std::string_view progress = {},
                               bool in_queue = false);
// `attempts` as they are stored: the last try is added from the row.
std::string render_stack_run(const storage::StackRun& row,
                             const std::vector<storage::Attempt>& attempts);
std::string render_log(const storage::LogEntry& entry);
std::string render_function(const storage::TaskFunction& function, bool with_code);
std::string render_status(const storage::StoreStatus& status);

// "[a,b,c]" of JSON texts.
std::string json_array(const std::vector<std::string>& items);

}  // namespace sequential::server
