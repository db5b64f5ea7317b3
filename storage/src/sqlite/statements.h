#pragma once
// The writer's SQL, prepared once. A member's name is the query's name.

#include "sqlite/cancellation_statements.h"
#include "sqlite/connection.h"
#include "sqlite/signal_statements.h"
#include "sqlite/queue_statements.h"

namespace sequential::storage::sqlite {

struct Statements {
  explicit Statements(Connection& c) : db(c) {}
  Connection& db;

  QueueStatements queue{db};

  // --- task functions ----------------------------------------------------------------------------
  Statement newest_function{db,
      "SELECT id, version, code_sha256 FROM task_functions"
      " WHERE name = ?1 ORDER BY version DESC LIMIT 1"};
  Statement insert_function{db,
      "INSERT INTO task_functions (id, name, version, code_sha256, created_at, description,"
      " input_schema, options, code) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"};
  Statement function_exists{db, "SELECT 1 FROM task_functions WHERE id = ?1"};

  // --- submit ------------------------------------------------------------------------------------
  Statement run_by_key{db,
      "SELECT t.id, t.root_stack_run_id, t.status, r.status, t.created_at, t.request_hash"
      " FROM task_runs t JOIN stack_runs r ON r.id = t.root_stack_run_id"
      " WHERE t.idempotency_key = ?1"};
  Statement stack_run_exists{db, "SELECT 1 FROM stack_runs WHERE id = ?1"};
  Statement insert_run{db,
      "INSERT INTO task_runs (id, task_function_id, root_stack_run_id, status, priority,"
      " parent_stack_run_id, created_at, updated_at, started_at, task_name, task_version,"
      " idempotency_key, request_hash, queue_key, seed, tags, input)"
      " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)"};
  Statement insert_root{db,
      "INSERT INTO stack_runs (id, task_run_id, seq, parent_stack_run_id, status, epoch, attempt,"
      " priority, available_at, lease_owner, lease_until, slice, delivered_as, created_at,"
      " updated_at, started_at, journal_length, delivered_through, call_count, open_calls,"
      " open_seq, log_count, crashes)"
      " VALUES (?1, ?2, 0, ?3, ?4, ?5, ?5, ?6, ?7, ?8, ?9, 0, 0, ?10, ?10, ?11, 0, 0, 0, 0, 1, 0,"
      " 0)"};

  // --- tags and attributes -----------------------------------------------------------------------
  // ?2: a JSON object, or a list of texts, in which "k:v" is k with the value v. What is neither is
  // only not found.
  Statement put_tags{db,
      "INSERT OR IGNORE INTO run_tags (task_run_id, kind, key, value, number)"
      " SELECT ?1, 0, CASE WHEN typeof(e.key) <> 'integer' THEN e.key"
      " WHEN instr(e.value, ':') > 0 THEN substr(e.value, 1, instr(e.value, ':') - 1)"
      " ELSE e.value END,"
      " CASE WHEN typeof(e.key) = 'integer' THEN CASE WHEN instr(e.value, ':') > 0"
      " THEN substr(e.value, instr(e.value, ':') + 1) ELSE '' END"
      " WHEN e.type = 'text' THEN e.value WHEN e.type IN ('true', 'false') THEN e.type"
      " ELSE coalesce(?2 -> e.fullkey, e.value) END,"  // no path: a key with a quote
      " CASE WHEN e.type IN ('integer', 'real') THEN e.value + 0.0 END"
      " FROM json_each(CASE WHEN json_valid(?2) THEN ?2 ELSE '[]' END) e WHERE e.type <> 'null'"
      " AND e.key IS NOT NULL AND length(CAST(e.key AS BLOB)) BETWEEN 1 AND 256"
      " AND length(CAST(e.value AS BLOB)) <= 1024"};
  Statement drop_attributes{db,
      "DELETE FROM run_tags WHERE task_run_id = ?1 AND kind = 1 AND key IN (SELECT e.key"
      " FROM json_each(CASE WHEN json_valid(?2) THEN ?2 ELSE '{}' END) e)"};
  // A run has 100 attributes at most; task code is told so earlier, at a lower limit.
  Statement put_attributes{db,
      "INSERT OR IGNORE INTO run_tags (task_run_id, kind, key, value, number)"
      " SELECT ?1, 1, e.key, CASE WHEN e.type = 'text' THEN e.value"
      " WHEN e.type IN ('true', 'false') THEN e.type"
      " ELSE coalesce(?2 -> e.fullkey, e.value) END,"
      " CASE WHEN e.type IN ('integer', 'real') THEN e.value + 0.0 END"
      " FROM json_each(CASE WHEN json_valid(?2) THEN ?2 ELSE '{}' END) e"
      " WHERE e.type <> 'null' AND e.key IS NOT NULL"
      " AND length(CAST(e.key AS BLOB)) BETWEEN 1 AND 256"
      " AND length(CAST(e.value AS BLOB)) <= 1024"
      " LIMIT max(0, 100 - (SELECT count(*) FROM run_tags"
      " WHERE task_run_id = ?1 AND kind = 1))"};
  // Read by the release before only (migrations/README.md).
  Statement put_child{db,
      "INSERT INTO run_children (task_run_id, parent_run)"
      " SELECT t.id, p.task_run_id FROM task_runs t JOIN stack_runs p"
      " ON p.id = t.parent_stack_run_id WHERE t.id = ?1"};

  // --- claims ------------------------------------------------------------------------------------
  Statement for_claim{db,
      "SELECT s.task_run_id, s.seq, s.status, s.epoch, s.attempt, s.priority, s.available_at,"
      " s.lease_owner, s.lease_until, s.started_at, s.delivery, s.outcome_unknown, s.service_name,"
      " s.method_name, s.options, s.args, t.status, t.task_function_id, t.task_name"
      " FROM stack_runs s JOIN task_runs t ON t.id = s.task_run_id WHERE s.id = ?1"};
  Statement claim{db,
      "UPDATE stack_runs SET status = 'processing', epoch = epoch + 1, attempt = ?3,"
      " outcome_unknown = ?4, lease_owner = ?5, lease_until = ?6, started_at = ?7, updated_at = ?7"
      " WHERE id = ?1 AND epoch = ?2"};
  Statement start_run{db,
      "UPDATE task_runs SET status = 'running', started_at = ?2, updated_at = ?2"
      " WHERE id = ?1 AND status = 'queued'"};
  // The first pending one of the highest priority that is at most ?1: a step of a skip scan.
  Statement first_pending{db,
      "SELECT priority, available_at, id FROM stack_runs"
      " WHERE status = 'pending' AND priority <= ?1"
      " ORDER BY priority DESC, available_at, id LIMIT 1"};
  Statement pending_due{db,
      "SELECT available_at, id FROM stack_runs"
      " WHERE status = 'pending' AND priority = ?1 AND available_at <= ?2"
      " ORDER BY available_at, id LIMIT ?3"};
  Statement next_pending{db,
      "SELECT available_at FROM stack_runs"
      " WHERE status = 'pending' AND priority = ?1 AND available_at > ?2"
      " ORDER BY available_at LIMIT 1"};
  Statement extend{db,
      "UPDATE stack_runs SET lease_until = ?3, lease_owner = ?4, updated_at = ?5"
      " WHERE id = ?1 AND epoch = ?2 AND status = 'processing'"};
  Statement lease_row{db,
      "SELECT s.priority, s.available_at, s.status, s.lease_until, t.status"
      " FROM stack_runs s JOIN task_runs t ON t.id = s.task_run_id WHERE s.id = ?1"};
  Statement release{db,
      "UPDATE stack_runs SET status = ?3, attempt = ?4, updated_at = ?5"
      " WHERE id = ?1 AND epoch = ?2 AND status = 'processing'"};
  Statement insert_attempt{db,
      "INSERT INTO attempts (stack_run_id, epoch, attempt, node, started_at, ended_at, outcome,"
      " error) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"};
  Statement free_lease{db,
      "UPDATE stack_runs SET lease_until = 0"
      " WHERE id = ?1 AND status = 'processing' AND coalesce(lease_owner, '') <> ?2"};

  // --- slices and outcomes -----------------------------------------------------------------------
  Statement root_for_slice{db,
      "SELECT s.task_run_id, s.seq, s.status, s.epoch, s.attempt, s.lease_owner, s.started_at,"
      " s.slice, s.journal_length, s.delivered_through, s.call_count, s.open_calls, s.open_seq,"
      " s.log_count, s.crashes, s.priority, s.updated_at, t.status, t.task_function_id,"
      " t.task_name, t.parent_stack_run_id, s.available_at"
      " FROM stack_runs s JOIN task_runs t ON t.id = s.task_run_id WHERE s.id = ?1"};
  Statement insert_call{db,
      "INSERT INTO stack_runs (id, task_run_id, seq, parent_stack_run_id, status, epoch, attempt,"
      " priority, available_at, lease_owner, lease_until, slice, delivered_as, created_at,"
      " updated_at, started_at, delivery, source_line, resume_kind, resume_us, service_name,"
      " method_name, options, args)"
      " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7, ?8, ?9, ?10, ?11, 0, ?12, ?12, ?13, ?14, ?15, ?16,"
      " ?17, ?18, ?19, ?20, ?21)"};
  Statement insert_log{db,
      "INSERT INTO task_logs (task_run_id, n, at, level, message, fields)"
      " VALUES (?1, ?2, ?3, ?4, ?5, ?6)"};
  // The newest status and progress, NULL where the slice set none. Nothing changes if neither does.
  Statement put_state{db,
      "INSERT INTO run_states (task_run_id, version, updated_at, progress, status)"
      " VALUES (?1, 1, ?2, ?3, ?4) ON CONFLICT (task_run_id) DO UPDATE SET version = version + 1,"
      " updated_at = excluded.updated_at, progress = coalesce(excluded.progress, progress),"
      " status = coalesce(excluded.status, status)"
      " WHERE coalesce(excluded.progress, progress) IS NOT progress"
      " OR coalesce(excluded.status, status) IS NOT status"};
  Statement update_root{db,
      "UPDATE stack_runs SET status = ?3, epoch = ?4, attempt = ?5, available_at = ?6,"
      " lease_owner = coalesce(?7, lease_owner), lease_until = coalesce(?8, lease_until),"
      " slice = ?9, updated_at = ?10, started_at = coalesce(?11, started_at), ended_at = ?12,"
      " journal_length = ?13, delivered_through = ?14, call_count = ?15, open_calls = ?16,"
      " open_seq = ?17, log_count = ?18, crashes = ?19, waiting_on_stack_run_id = ?20,"
      " resume_kind = coalesce(?21, resume_kind), resume_us = coalesce(?22, resume_us)"
      " WHERE id = ?1 AND epoch = ?2"};
  Statement end_run{db,
      "UPDATE task_runs SET status = ?2, result = ?3, error = ?4, straggling = ?5,"
      " pause_reason = NULL, pause_detail = NULL, updated_at = ?6,"
      " ended_at = ?6 WHERE id = ?1 AND ended_at IS NULL"};
  Statement no_longer_straggling{db, "UPDATE task_runs SET straggling = NULL WHERE id = ?1"};
  // A call with its root and run.
  Statement call_for_outcome{db,
      "SELECT c.task_run_id, c.seq, c.status, c.epoch, c.attempt, c.lease_owner, c.started_at,"
      " c.parent_stack_run_id, r.status, r.epoch, r.attempt, r.slice, r.journal_length,"
      " r.delivered_through, r.call_count, r.open_calls, r.open_seq, r.log_count, r.crashes,"
      " r.priority, r.updated_at, t.status, t.task_function_id, t.task_name, r.available_at"
      " FROM stack_runs c JOIN stack_runs r ON r.id = c.parent_stack_run_id"
      " JOIN task_runs t ON t.id = c.task_run_id WHERE c.id = ?1 AND c.seq > 0"};
  Statement end_call{db,
      "UPDATE stack_runs SET status = ?3, result = ?4, error = ?5, delivered_as = ?6,"
      " via = coalesce(?7, via), hop_us = coalesce(?8, hop_us), updated_at = ?9, ended_at = ?9"
      " WHERE id = ?1 AND epoch = ?2 AND ended_at IS NULL"};
  Statement retry_call{db,
      "UPDATE stack_runs SET status = ?3, available_at = ?4, updated_at = ?5,"
      " via = coalesce(?6, via), hop_us = coalesce(?7, hop_us)"
      " WHERE id = ?1 AND epoch = ?2 AND status = 'processing'"};
  // The root goes on as it is, with one outcome more to see.
  Statement count_outcome{db,
      "UPDATE stack_runs SET journal_length = ?3, open_calls = ?4, open_seq = ?5,"
      " waiting_on_stack_run_id = NULL, updated_at = ?6 WHERE id = ?1 AND epoch = ?2"};
  Statement update_open_calls{db,
      "UPDATE stack_runs SET open_calls = ?2, open_seq = ?3 WHERE id = ?1"};
  Statement first_open_call{db,
      "SELECT seq, id FROM stack_runs WHERE task_run_id = ?1 AND seq >= ?2 AND ended_at IS NULL"
      " ORDER BY seq LIMIT 1"};

  // Unfinished timers that are due before this one, in the order of their calls.
  Statement earlier_timers{db,
      "SELECT e.id, e.available_at FROM stack_runs c"
      " JOIN stack_runs e ON e.task_run_id = c.task_run_id"
      " WHERE c.id = ?1 AND c.service_name = 'timer' AND e.seq >= max(?2, 1)"
      " AND e.ended_at IS NULL AND e.service_name = 'timer'"
      " AND e.status IN ('pending', 'processing')"
      " AND (e.available_at, e.seq) < (c.available_at, c.seq) ORDER BY e.seq"};

  // --- control -----------------------------------------------------------------------------------
  Statement run_for_control{db,
      "SELECT t.status, t.root_stack_run_id, t.started_at, t.parent_stack_run_id, r.status,"
      " r.epoch, r.slice, r.journal_length, r.delivered_through, r.open_calls, r.open_seq,"
      " r.priority, r.available_at, r.lease_until"
      " FROM task_runs t JOIN stack_runs r ON r.id = t.root_stack_run_id WHERE t.id = ?1"};
  Statement pause_run{db,
      "UPDATE task_runs SET status = 'paused', pause_reason = ?2, pause_detail = ?3,"
      " updated_at = ?4 WHERE id = ?1 AND ended_at IS NULL"};
  Statement resume_run{db,
      "UPDATE task_runs SET status = ?2, pause_reason = NULL, pause_detail = NULL,"
      " updated_at = ?3 WHERE id = ?1 AND status = 'paused'"};
  Statement set_root_status{db,
      "UPDATE stack_runs SET status = ?2, available_at = ?3, crashes = ?4,"
      " waiting_on_stack_run_id = ?5, updated_at = ?6 WHERE id = ?1 AND epoch = ?7"};
  Statement set_root_paused{db,
      "UPDATE stack_runs SET status = 'paused', updated_at = ?3 WHERE id = ?1 AND epoch = ?2"};
  Statement pause_pending_calls{db,
      "UPDATE stack_runs SET status = 'paused', updated_at = ?3"
      " WHERE task_run_id = ?1 AND seq >= ?2 AND status = 'pending'"};
  Statement resume_paused_calls{db,
      "UPDATE stack_runs SET status = 'pending', updated_at = ?3"
      " WHERE task_run_id = ?1 AND seq >= ?2 AND status = 'paused'"};
  Statement open_stack_runs{db,
      "SELECT id, status, priority, available_at, lease_until FROM stack_runs"
      " WHERE task_run_id = ?1 AND seq >= ?2 AND ended_at IS NULL ORDER BY seq"};
  Statement cancel_stack_runs{db,
      "UPDATE stack_runs SET status = 'cancelled', epoch = epoch + 1, updated_at = ?3,"
      " ended_at = ?3 WHERE task_run_id = ?1 AND seq >= ?2 AND ended_at IS NULL"};
  Statement cancel_root{db,
      "UPDATE stack_runs SET status = 'cancelled', epoch = epoch + 1, open_calls = 0,"
      " open_seq = call_count + 1, waiting_on_stack_run_id = NULL, updated_at = ?2, ended_at = ?2"
      " WHERE id = ?1 AND ended_at IS NULL"};

  // --- clear, meta -------------------------------------------------------------------------------
  Statement count_runs{db, "SELECT count(*) FROM task_runs"};
  // The tables with rows of runs, but for task_runs, stack_runs and attempts.
  Statement run_tables{db,
      "SELECT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c"
      " WHERE m.type = 'table' AND c.name = 'task_run_id' AND m.name <> 'stack_runs' ORDER BY 1"};
  Statement clear_attempts{db, "DELETE FROM attempts"};
  Statement clear_stack_runs{db, "DELETE FROM stack_runs"};
  Statement clear_runs{db, "DELETE FROM task_runs"};
  Statement ended_run{db,
      "SELECT root_stack_run_id FROM task_runs WHERE id = ?1 AND ended_at < ?2"};
  Statement child_not_ended{db,
      "SELECT 1 FROM child_tasks c JOIN task_runs t ON t.id = c.child_run"
      " WHERE c.parent_run = ?1 AND t.ended_at IS NULL LIMIT 1"};
  Statement children_of{db,
      "SELECT child_run FROM child_tasks WHERE parent_run = ?1 ORDER BY 1 LIMIT ?2"};
  Statement remove_attempts{db,
      "DELETE FROM attempts WHERE stack_run_id IN"
      " (SELECT id FROM stack_runs WHERE task_run_id = ?1)"};
  Statement remove_stack_runs{db, "DELETE FROM stack_runs WHERE task_run_id = ?1"};
  Statement remove_run{db, "DELETE FROM task_runs WHERE id = ?1"};
  Statement put_retention{db,
      "INSERT INTO task_retention (task, completed_ms, failed_ms, updated_at)"
      " VALUES (?1, ?2, ?3, ?4) ON CONFLICT (task) DO UPDATE SET"
      " completed_ms = excluded.completed_ms, failed_ms = excluded.failed_ms,"
      " updated_at = excluded.updated_at"};
  Statement drop_retention{db, "DELETE FROM task_retention WHERE task = ?1"};
  Statement set_meta{db,
      "INSERT INTO meta (key, value) VALUES (?1, ?2)"
      " ON CONFLICT (key) DO UPDATE SET value = excluded.value"};

  // --- child tasks -------------------------------------------------------------------------------
  // A call with its run, and how many runs are above that.
  Statement call_for_child{db,
      "SELECT c.task_run_id, c.status, c.epoch, c.priority, t.status,"
      " (SELECT depth FROM child_tasks k WHERE k.child_run = c.task_run_id)"
      " FROM stack_runs c JOIN task_runs t ON t.id = c.task_run_id WHERE c.id = ?1 AND c.seq > 0"};
  Statement child_of_call{db,
      "SELECT k.child_run, t.root_stack_run_id, t.status, t.created_at FROM child_tasks k"
      " JOIN task_runs t ON t.id = k.child_run WHERE k.parent_call = ?1"};
  Statement forget_child{db,
      "UPDATE child_tasks SET parent_call = NULL WHERE parent_call = ?1"};
  Statement insert_child{db,
      "INSERT INTO child_tasks (parent_run, child_run, parent_call, depth)"
      " VALUES (?1, ?2, ?3, ?4)"};
  Statement wait_for_child{db,
      "UPDATE stack_runs SET status = ?3, available_at = ?4, updated_at = ?5"
      " WHERE id = ?1 AND epoch = ?2 AND status = 'processing'"};
  // ?2: only those that were noted or asked to end before.
  Statement note_orphans{db,
      "INSERT INTO child_cancels (child_run, parent_run, deadline)"
      " SELECT k.child_run, ?1, coalesce(c.deadline, 0)"
      " FROM child_tasks k JOIN task_runs t ON t.id = k.child_run"
      " LEFT JOIN cancellations c ON c.task_run_id = ?1"
      " WHERE k.parent_run = ?1 AND k.parent_call IS NOT NULL AND t.ended_at IS NULL"
      " AND (?2 = 0 OR EXISTS (SELECT 1 FROM child_cancels x WHERE x.child_run = k.child_run)"
      " OR EXISTS (SELECT 1 FROM cancellations x WHERE x.task_run_id = k.child_run"
      " AND x.deadline > c.deadline))"
      " ON CONFLICT (child_run) DO UPDATE SET deadline = min(deadline, excluded.deadline)"};
  Statement orphans_have_until{db,
      "UPDATE child_cancels SET deadline = ?2 WHERE deadline = 0"
      " AND child_run IN (SELECT child_run FROM child_tasks WHERE parent_run = ?1)"};
  Statement note_orphan_of{db,
      "INSERT OR IGNORE INTO child_cancels (child_run, parent_run)"
      " SELECT k.child_run, k.parent_run FROM child_tasks k JOIN task_runs t ON t.id = k.child_run"
      " WHERE k.parent_call = ?1 AND t.ended_at IS NULL"};
  Statement orphans{db,
      "SELECT child_run, deadline FROM child_cancels WHERE child_run > 0"
      " ORDER BY child_run LIMIT ?1"};
  Statement forget_orphan{db, "DELETE FROM child_cancels WHERE child_run = ?1"};
  Statement clear_children{db, "DELETE FROM child_tasks"};
  Statement clear_orphans{db, "DELETE FROM child_cancels"};
  Statement remove_child{db, "DELETE FROM child_tasks WHERE child_run = ?1"};
  Statement remove_orphan{db, "DELETE FROM child_cancels WHERE child_run = ?1"};

  // --- keystore ----------------------------------------------------------------------------------
  Statement keystore_version{db,
      "SELECT version FROM keystore WHERE namespace = ?1 AND key = ?2"};
  Statement keystore_put{db,
      "INSERT INTO keystore (namespace, key, version, key_id, updated_at, sealed)"
      " VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (namespace, key) DO UPDATE SET"
      " version = excluded.version, key_id = excluded.key_id, updated_at = excluded.updated_at,"
      " sealed = excluded.sealed"};
  Statement keystore_delete{db, "DELETE FROM keystore WHERE namespace = ?1 AND key = ?2"};

  CancellationStatements cancellation{db};

  // --- further contracts ------------------------------------------------------------------------
  SignalStatements signals{db};

  // --- what a start reads ------------------------------------------------------------------------
  Statement open_runs{db,
      "SELECT t.id, r.id, r.status, r.priority, r.available_at, r.lease_until, r.open_calls,"
      " r.open_seq FROM task_runs t JOIN stack_runs r ON r.id = t.root_stack_run_id"
      " WHERE t.status IN ('queued', 'running', 'paused')"
      " UNION ALL "
      "SELECT t.id, r.id, r.status, r.priority, r.available_at, r.lease_until, r.open_calls,"
      " r.open_seq FROM task_runs t JOIN stack_runs r ON r.id = t.root_stack_run_id"
      " WHERE t.straggling = 1"};
};

}  // namespace sequential::storage::sqlite
