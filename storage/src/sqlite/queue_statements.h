#pragma once
// The writer's SQL about queues.

#include "sqlite/connection.h"

namespace sequential::storage::sqlite {

struct QueueStatements {
  explicit QueueStatements(Connection& c) : db(c) {}
  Connection& db;

  Statement limited{db, "SELECT 1 FROM queues WHERE task = ?1 AND limited = 1"};
  Statement make{db,
      "INSERT INTO queues (task, updated_at) VALUES (?1, ?2) ON CONFLICT (task) DO NOTHING"};
  Statement read{db,
      "SELECT concurrency, key_concurrency, rate_starts, rate_ms, key_rate_starts, key_rate_ms,"
      " running, limited FROM queues WHERE task = ?1"};
  Statement change{db,
      "UPDATE queues SET concurrency = ?2, key_concurrency = ?3, rate_starts = ?4, rate_ms = ?5,"
      " key_rate_starts = ?6, key_rate_ms = ?7, limited = ?8, updated_at = ?9 WHERE task = ?1"};
  Statement count{db,
      "UPDATE queues SET running = running + ?2, waiting = waiting + ?3, steps = steps + ?4"
      " WHERE task = ?1"};
  Statement steps{db, "SELECT steps FROM queues WHERE task = ?1"};

  Statement insert_run{db,
      "INSERT INTO queue_runs (run, root, place, since, priority, state, task, key)"
      " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"};
  Statement line_up{db, "UPDATE queue_runs SET state = 1, place = ?2, since = ?3 WHERE run = ?1"};
  Statement run_admitted{db, "UPDATE queue_runs SET state = 2, since = ?2 WHERE run = ?1"};
  Statement run_over{db, "UPDATE queue_runs SET state = state + 3 WHERE run = ?1 AND state < 3"};
  Statement run_ended{db, "UPDATE queue_runs SET state = 4 WHERE run = ?1"};
  Statement ended{db,
      "SELECT run, key, state FROM queue_runs WHERE task = ?1 AND state >= 3"
      " ORDER BY state, place LIMIT ?2"};
  Statement delayed{db,
      "SELECT run, key, priority FROM queue_runs WHERE task = ?1 AND state = 0 AND place <= ?2"
      " ORDER BY place, run LIMIT ?3"};
  Statement delete_run{db, "DELETE FROM queue_runs WHERE run = ?1"};
  Statement first_waiting{db,
      "SELECT run, root, priority FROM queue_runs WHERE task = ?1 AND key = ?2 AND state = 1"
      " ORDER BY priority DESC, place LIMIT 1"};

  Statement key_lines_up{db,
      "INSERT INTO queue_keys (task, key, running, waiting, turn, priority, ready)"
      " VALUES (?1, ?2, 0, 1, ?3, ?4, 1)"
      " ON CONFLICT (task, key) DO UPDATE SET"
      " priority = CASE WHEN waiting = 0 THEN excluded.priority"
      " ELSE max(priority, excluded.priority) END,"
      " turn = CASE WHEN waiting = 0 THEN excluded.turn ELSE turn END,"
      " ready = max(ready, waiting = 0), waiting = waiting + 1"};
  Statement key_begins{db,
      "INSERT INTO queue_keys (task, key, running, waiting, turn, priority, ready)"
      " VALUES (?1, ?2, 1, 0, ?3, ?4, 0)"
      " ON CONFLICT (task, key) DO UPDATE SET running = running + 1, turn = excluded.turn"};
  Statement key_settled{db,
      "UPDATE queue_keys SET waiting = waiting - ?3, running = running - ?4,"
      " ready = waiting > ?3, not_before = NULL WHERE task = ?1 AND key = ?2"};
  Statement key_admitted{db,
      "UPDATE queue_keys SET waiting = waiting - 1, ready = waiting > 1"
      " WHERE task = ?1 AND key = ?2"};
  Statement drop_idle_key{db,
      "DELETE FROM queue_keys WHERE task = ?1 AND key = ?2 AND running = 0 AND waiting = 0"};
  Statement key_not_ready{db,
      "UPDATE queue_keys SET ready = 0, not_before = ?3 WHERE task = ?1 AND key = ?2"};
  Statement key_priority{db, "UPDATE queue_keys SET priority = ?3 WHERE task = ?1 AND key = ?2"};
  Statement keys_due{db,
      "UPDATE queue_keys SET ready = waiting > 0, not_before = NULL"
      " WHERE task = ?1 AND not_before <= ?2"};
  Statement judge_keys{db,
      "UPDATE queue_keys SET ready = waiting > 0, not_before = NULL WHERE task = ?1"};
  Statement key{db, "SELECT running, waiting FROM queue_keys WHERE task = ?1 AND key = ?2"};
  Statement next_key{db,
      "SELECT key, running, priority FROM queue_keys WHERE task = ?1 AND ready = 1"
      " ORDER BY priority DESC, turn LIMIT 1"};

  Statement insert_start{db,
      "INSERT INTO queue_starts (task, key, at, run) VALUES (?1, ?2, ?3, ?4)"};
  Statement drop_starts{db, "DELETE FROM queue_starts WHERE task = ?1 AND at <= ?2"};
  Statement starts_ahead{db, "UPDATE queue_starts SET at = ?2 WHERE task = ?1 AND at > ?2"};
  Statement nth_start{db,
      "SELECT at FROM queue_starts WHERE task = ?1 ORDER BY at DESC LIMIT 1 OFFSET ?2"};
  Statement nth_key_start{db,
      "SELECT at FROM queue_starts WHERE task = ?1 AND key = ?2 ORDER BY at DESC"
      " LIMIT 1 OFFSET ?3"};
  Statement starts_since{db,
      "SELECT at FROM queue_starts WHERE task = ?1 AND at > ?2 LIMIT ?3"};

  Statement next_not_before{db,
      "SELECT min(not_before) FROM queue_keys WHERE task = ?1 AND not_before IS NOT NULL"};
  Statement next_delayed{db,
      "SELECT min(place) FROM queue_runs WHERE task = ?1 AND state = 0"};
  Statement root{db,
      "SELECT s.status, s.epoch, s.attempt, s.priority, t.status, t.task_function_id, s.call_count"
      " FROM stack_runs s JOIN task_runs t ON t.id = s.task_run_id WHERE s.id = ?1"};
  Statement root_due{db,
      "UPDATE stack_runs SET available_at = ?2, updated_at = ?2 WHERE id = ?1"};
  Statement root_claimed{db,
      "UPDATE stack_runs SET status = 'processing', epoch = epoch + 1, attempt = attempt + 1,"
      " available_at = ?2, lease_owner = ?3, lease_until = ?4, started_at = ?2, updated_at = ?2"
      " WHERE id = ?1"};

  Statement rewound{db,
      "SELECT t.task_name, t.queue_key, s.priority, s.available_at, s.slice FROM task_runs t"
      " JOIN stack_runs s ON s.id = t.root_stack_run_id WHERE t.id = ?1"};
  Statement run_left{db, "SELECT task, key, state FROM queue_runs WHERE run = ?1 AND state >= 3"};
  // It begins, for everybody who looks at it, when it is admitted.
  Statement run_enters{db,
      "UPDATE task_runs SET status = 'queued', started_at = NULL WHERE id = ?1"};
  Statement root_enters{db,
      "UPDATE stack_runs SET available_at = ?2, started_at = NULL WHERE id = ?1"};
  Statement park_calls{db,
      "UPDATE stack_runs SET available_at = ?3 WHERE task_run_id = ?1 AND seq > 0"
      " AND status = 'pending' AND available_at <= ?2"};
  Statement unpark_calls{db,
      "UPDATE stack_runs SET available_at = ?2, updated_at = ?2 WHERE task_run_id = ?1 AND seq > 0"
      " AND ended_at IS NULL AND available_at = ?3"};
  Statement runnable_calls{db,
      "SELECT id FROM stack_runs WHERE task_run_id = ?1 AND seq > 0 AND status = 'pending'"
      " AND available_at <= ?2 LIMIT ?3"};
  Statement task_of{db, "SELECT task FROM queue_runs WHERE run = ?1"};

  Statement clear_runs{db, "DELETE FROM queue_runs"};
  Statement clear_keys{db, "DELETE FROM queue_keys"};
  Statement clear_starts{db, "DELETE FROM queue_starts"};
  Statement clear_counts{db, "UPDATE queues SET running = 0, waiting = 0 WHERE task >= ''"};
};

}  // namespace sequential::storage::sqlite
