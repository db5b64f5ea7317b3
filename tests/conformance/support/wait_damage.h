#pragma once
// What waits must be waiting for something, as queries for the ids that break it; for both stores.

#include <array>
#include <utility>

namespace sequential::storage::test {

inline constexpr std::array<std::pair<const char*, const char*>, 2> kWaitRules{{
    {"a suspended root has nothing to wait for",
     "SELECT id FROM stack_runs WHERE seq = 0 AND status = 'suspended_waiting_child'"
     " AND open_calls = 0 AND journal_length = delivered_through"},
    {"a call is parked for a signal, and no signal would find it",
     "SELECT c.id FROM stack_runs c WHERE c.seq > 0 AND c.service_name = 'signal'"
     " AND c.method_name = 'wait' AND c.status IN ('pending', 'paused')"
     " AND c.available_at >= 7258118400000"  // never
     " AND NOT EXISTS (SELECT 1 FROM signal_waits w WHERE w.stack_run_id = c.id)"},
}};

}  // namespace sequential::storage::test
