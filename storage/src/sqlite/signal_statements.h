#pragma once
// The writer's SQL for signals and webhooks. A member's name is the query's name.

#include "sqlite/connection.h"

namespace sequential::storage::sqlite {

struct SignalStatements {
  explicit SignalStatements(Connection& c) : db(c) {}
  Connection& db;

  Statement call{
      db,
      "SELECT s.task_run_id, s.seq, s.status, s.epoch, s.attempt, s.created_at, t.status,"
      " r.open_seq FROM stack_runs s JOIN stack_runs r ON r.id = s.parent_stack_run_id"
      " JOIN task_runs t ON t.id = s.task_run_id WHERE s.id = ?1 AND s.seq > 0"};
  Statement run{db,
                "SELECT t.status, r.open_seq FROM task_runs t"
                " JOIN stack_runs r ON r.id = t.root_stack_run_id WHERE t.id = ?1"};
  Statement oldest{
      db,
      "SELECT id, payload FROM signals WHERE task_run_id = ?1 AND name = ?2 AND taken_seq IS NULL"
      " ORDER BY id LIMIT 1"};
  // A row if there are at least ?2 + 1.
  Statement more_kept{db,
                      "SELECT 1 FROM signals INDEXED BY signals_kept"
                      " WHERE task_run_id = ?1 AND taken_seq IS NULL LIMIT 1 OFFSET ?2"};
  Statement by_key{
      db, "SELECT taken_seq, request_hash FROM signals WHERE task_run_id = ?1 AND key = ?2"};
  Statement insert{db,
                   "INSERT INTO signals (task_run_id, at, name, key, request_hash, payload)"
                   " VALUES (?1, ?2, ?3, ?4, ?5, ?6)"};
  Statement taken{db, "UPDATE signals SET taken_seq = ?2, payload = NULL WHERE id = ?1"};
  Statement is_taken{db, "SELECT 1 FROM signals WHERE id = ?1 AND taken_seq IS NOT NULL"};

  Statement first_wait{
      db,
      "SELECT w.seq, w.stack_run_id FROM signal_waits w JOIN stack_runs s ON s.id = w.stack_run_id"
      " WHERE w.task_run_id = ?1 AND w.name = ?2 AND s.ended_at IS NULL ORDER BY w.seq LIMIT 1"};
  // A call before that one which will wait for the name, too, but has not come to it yet.
  Statement earlier_wait{
      db,
      "SELECT 1 FROM stack_runs s WHERE s.task_run_id = ?1 AND s.seq >= ?2 AND s.seq < ?3"
      " AND s.seq > 0 AND s.ended_at IS NULL AND s.service_name = 'signal'"
      " AND s.method_name = 'wait' AND substr(s.args, 1, length(?4)) = ?4 AND NOT EXISTS"
      " (SELECT 1 FROM signal_waits w WHERE w.task_run_id = ?1 AND w.name = ?5 AND w.seq = s.seq)"
      " LIMIT 1"};
  Statement insert_wait{db,
                        "INSERT OR REPLACE INTO signal_waits (task_run_id, name, seq, stack_run_id)"
                        " VALUES (?1, ?2, ?3, ?4)"};
  Statement delete_wait{
      db, "DELETE FROM signal_waits WHERE task_run_id = ?1 AND name = ?2 AND seq = ?3"};
  Statement park{
      db,
      "UPDATE stack_runs SET status = ?3, attempt = ?4, available_at = ?5, updated_at = ?6"
      " WHERE id = ?1 AND epoch = ?2 AND status = 'processing'"};
  Statement sooner{db,
                   "UPDATE stack_runs SET available_at = ?2"
                   " WHERE id = ?1 AND status IN ('pending', 'paused') AND available_at > ?2"};
  Statement let_go{
      db,
      "UPDATE stack_runs SET available_at = ?2 WHERE status = 'pending' AND available_at > ?2"
      " AND id IN (SELECT stack_run_id FROM signal_waits WHERE task_run_id = ?1)"};
  Statement delete_waits{db, "DELETE FROM signal_waits WHERE task_run_id = ?1"};

  Statement insert_webhook{db,
                           "INSERT INTO webhooks (key, task_run_id, expires_at, name, rules)"
                           " VALUES (?1, ?2, ?3, ?4, ?5)"};
  // Its own row and, under longer keys, those of forks, by age (sqlite/rewound_signals.cpp).
  Statement webhook{
      db,
      "SELECT w.task_run_id, w.expires_at, w.used_at, w.name, t.status, w.key"
      " FROM webhooks w LEFT JOIN task_runs t ON t.id = w.task_run_id"
      " WHERE w.key >= ?1 AND w.key < ?1 || ';'"
      " AND (w.key = ?1 OR substr(w.key, length(?1) + 1, 1) = ':') ORDER BY w.key"};
  Statement webhook_used{db, "UPDATE webhooks SET used_at = ?2, payload = ?3 WHERE key = ?1"};
  Statement webhook_answer{db,
                           "SELECT 0, payload FROM webhooks WHERE task_run_id = ?1 AND name = ?2"
                           " AND used_at IS NOT NULL"};

};

}  // namespace sequential::storage::sqlite
