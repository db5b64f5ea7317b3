#pragma once
// What the tables of child tasks must say, as queries for the ids that break it; for both stores.

#include <array>
#include <utility>

namespace sequential::storage::test {

inline constexpr std::array<std::pair<const char*, const char*>, 2> kChildRules{{
    {"a child hangs on a call that does not exist, or is of another run",
     "SELECT k.child_run FROM child_tasks k LEFT JOIN stack_runs c ON c.id = k.parent_call"
     " WHERE k.parent_call IS NOT NULL AND (c.id IS NULL OR c.task_run_id <> k.parent_run)"},
    {"a call waits for a child for ever",
     "SELECT c.id FROM stack_runs c LEFT JOIN child_tasks k ON k.parent_call = c.id"
     " LEFT JOIN task_runs t ON t.id = k.child_run"
     " WHERE c.status IN ('pending', 'paused') AND c.available_at = 253402300799999"
     " AND (t.id IS NULL OR t.ended_at IS NOT NULL)"},
}};

}  // namespace sequential::storage::test
