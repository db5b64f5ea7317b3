#pragma once
// What the queues' tables must say, as queries for the ids that break it; for both stores.

#include <array>
#include <utility>

namespace sequential::storage::test {

inline constexpr std::array<std::pair<const char*, const char*>, 9> kQueueRules{{
    {"a run that has ended, or is gone, holds a slot or a place",
     "SELECT q.run FROM queue_runs q LEFT JOIN task_runs t ON t.id = q.run"
     " WHERE q.state < 3 AND (t.id IS NULL OR t.ended_at IS NOT NULL)"},
    {"a run lost its slot or place before its end",
     "SELECT q.run FROM queue_runs q JOIN task_runs t ON t.id = q.run"
     " WHERE q.state >= 3 AND t.ended_at IS NULL"},
    {"a run with a queue key is in no queue",
     "SELECT t.id FROM task_runs t WHERE t.queue_key IS NOT NULL AND t.ended_at IS NULL"
     " AND NOT EXISTS (SELECT 1 FROM queue_runs q WHERE q.run = t.id)"},
    {"a root is parked and was admitted, or waits and is not parked",
     "SELECT q.run FROM queue_runs q JOIN stack_runs r ON r.id = q.root"
     " WHERE q.state < 3 AND (q.state < 2) <> (r.available_at = 253402300799000)"},
    {"a root is parked and waits nowhere",
     "SELECT r.id FROM stack_runs r WHERE r.seq = 0 AND r.available_at = 253402300799000"
     " AND r.ended_at IS NULL"
     " AND NOT EXISTS (SELECT 1 FROM queue_runs q WHERE q.run = r.task_run_id AND q.state < 2)"},
    {"a call is parked and its run does not wait",
     "SELECT s.id FROM stack_runs s WHERE s.seq > 0 AND s.available_at = 253402300799000"
     " AND s.ended_at IS NULL"
     " AND NOT EXISTS (SELECT 1 FROM queue_runs q WHERE q.run = s.task_run_id AND q.state < 2)"},
    {"a queue counts wrongly, its place among all",
     "SELECT (SELECT count(*) FROM queues b WHERE b.task < a.task) FROM queues a"
     " WHERE a.running <> (SELECT count(*) FROM queue_runs q WHERE q.task = a.task"
     " AND q.state IN (2, 5)) OR a.waiting <> (SELECT count(*) FROM queue_runs q"
     " WHERE q.task = a.task AND q.state IN (1, 4))"},
    {"a key counts wrongly, the turn it has",
     "SELECT k.turn FROM queue_keys k WHERE k.running <> (SELECT count(*) FROM queue_runs q"
     " WHERE q.task = k.task AND q.key = k.key AND q.state IN (2, 5)) OR k.waiting <>"
     " (SELECT count(*) FROM queue_runs q WHERE q.task = k.task AND q.key = k.key"
     " AND q.state IN (1, 4))"},
    {"a key that could go on would not be found, the turn it has",
     "SELECT k.turn FROM queue_keys k JOIN queues a ON a.task = k.task"
     " WHERE NOT k.ready AND k.not_before IS NULL"
     " AND (k.running < coalesce(a.key_concurrency, 1) OR k.key = '')"
     " AND EXISTS (SELECT 1 FROM queue_runs q WHERE q.task = k.task AND q.key = k.key"
     " AND q.state = 1)"},
}};

}  // namespace sequential::storage::test
