#pragma once
// The writer's SQL of cancellation.cpp, prepared once.

#include "sqlite/connection.h"

namespace sequential::storage::sqlite {

struct CancellationStatements {
  explicit CancellationStatements(Connection& c) : db(c) {}
  Connection& db;

  Statement head{db,
      "SELECT t.status, r.id, r.status, r.epoch, r.call_count, r.journal_length, r.delivered_as,"
      " r.open_calls, r.open_seq, r.available_at, r.updated_at, t.rewound_epoch"
      " FROM task_runs t JOIN stack_runs r ON r.id = t.root_stack_run_id WHERE t.id = ?1"};
  Statement journal_root{db,
      "UPDATE stack_runs SET status = ?3, available_at = ?4, journal_length = ?5,"
      " delivered_as = ?5, open_calls = 0, open_seq = call_count + 1,"
      " waiting_on_stack_run_id = NULL, updated_at = ?6 WHERE id = ?1 AND epoch = ?2"};
  Statement insert{db,
      "INSERT INTO cancellations (task_run_id, at, deadline, error) VALUES (?1, ?2, ?3, ?4)"
      " ON CONFLICT (task_run_id) DO UPDATE SET at = excluded.at, deadline = excluded.deadline,"
      " error = excluded.error"};
  Statement deadline{db, "SELECT deadline FROM cancellations WHERE task_run_id = ?1"};
  Statement set_deadline{db, "UPDATE cancellations SET deadline = ?2 WHERE task_run_id = ?1"};
  Statement deadline_is_now{db,
      "UPDATE cancellations SET deadline = ?2 WHERE task_run_id = ?1 AND deadline > ?2"};

  Statement open_call{db,
      "SELECT id FROM stack_runs WHERE task_run_id = ?1 AND seq = ?2 AND ended_at IS NULL"};
  Statement cancel_call{db,
      "UPDATE stack_runs SET status = 'cancelled', epoch = epoch + 1, updated_at = ?2,"
      " ended_at = ?2 WHERE id = ?1 AND ended_at IS NULL"};
  Statement calls_dropped{db,
      "UPDATE stack_runs SET open_calls = ?2, open_seq = ?3, waiting_on_stack_run_id = ?4"
      " WHERE id = ?1"};
  Statement wake_root{db,
      "UPDATE stack_runs SET status = 'pending', available_at = ?2,"
      " updated_at = max(updated_at, ?2) WHERE id = ?1"};

  Statement due{db,
      "SELECT c.task_run_id, r.id IS NOT NULL AND r.ended_at IS NULL AND r.delivered_as > 0"
      " FROM cancellations c LEFT JOIN stack_runs r ON r.task_run_id = c.task_run_id AND r.seq = 0"
      " WHERE c.deadline <= ?1 ORDER BY c.deadline LIMIT ?2"};
  Statement next{db,
      "SELECT deadline FROM cancellations WHERE deadline > ?1 ORDER BY deadline LIMIT 1"};
};

}  // namespace sequential::storage::sqlite
