#include "support/postgres_damage.h"

#include "support/child_damage.h"
#include "support/queue_damage.h"
#include "support/wait_damage.h"

namespace sequential::storage::test {
namespace {

struct Rule {
  const char* what;
  const char* broken_by;  // a query for the ids that break it
};

constexpr Rule kRules[] = {
    {"a stack run has no task run",
     "SELECT s.id FROM stack_runs s LEFT JOIN task_runs t ON t.id = s.task_run_id"
     " WHERE t.id IS NULL"},
    {"a task run has no root, or its root is not one",
     "SELECT t.id FROM task_runs t LEFT JOIN stack_runs r ON r.id = t.root_stack_run_id"
     " AND r.task_run_id = t.id AND r.seq = 0 WHERE r.id IS NULL"},
    {"a task run has no task function",
     "SELECT t.id FROM task_runs t LEFT JOIN task_functions f ON f.id = t.task_function_id"
     " WHERE f.id IS NULL"},
    {"a call has no root",
     "SELECT c.id FROM stack_runs c LEFT JOIN stack_runs r ON r.id = c.parent_stack_run_id"
     " AND r.task_run_id = c.task_run_id AND r.seq = 0 WHERE c.seq > 0 AND r.id IS NULL"},
    {"a parent call does not exist, or root and run name different ones",
     "SELECT t.id FROM task_runs t JOIN stack_runs r ON r.id = t.root_stack_run_id"
     " LEFT JOIN stack_runs p ON p.id = t.parent_stack_run_id"
     " WHERE t.parent_stack_run_id IS DISTINCT FROM r.parent_stack_run_id"
     " OR (t.parent_stack_run_id IS NOT NULL AND p.id IS NULL AND NOT EXISTS (SELECT 1"
     " FROM child_tasks k WHERE k.child_run = t.id AND k.parent_call IS NULL))"},
    {"an attempt has no stack run",
     "SELECT a.stack_run_id FROM attempts a LEFT JOIN stack_runs s ON s.id = a.stack_run_id"
     " WHERE s.id IS NULL"},
    {"a log line has no task run",
     "SELECT l.task_run_id FROM task_logs l LEFT JOIN task_runs t ON t.id = l.task_run_id"
     " WHERE t.id IS NULL"},
    {"counters of a root are wrong",
     "SELECT r.id FROM stack_runs r LEFT JOIN LATERAL (SELECT count(*) AS calls,"
     " count(*) FILTER (WHERE c.ended_at IS NULL) AS open,"
     " min(c.seq) FILTER (WHERE c.ended_at IS NULL) AS first_open,"
     " coalesce(max(c.delivered_as), 0) AS journal,"
     " min(c.seq) FILTER (WHERE c.delivered_as > r.delivered_through) AS undelivered"
     " FROM stack_runs c WHERE c.task_run_id = r.task_run_id AND c.seq > 0) c ON true"
     " WHERE r.seq = 0 AND (c.calls <> r.call_count OR c.open <> r.open_calls"
     " OR greatest(c.journal, r.delivered_as) <> r.journal_length"
     " OR r.open_seq > coalesce(c.first_open, r.call_count + 1)"
     " OR r.undelivered_seq > c.undelivered"
     " OR r.log_count <> (SELECT count(*) FROM task_logs l WHERE l.task_run_id = r.task_run_id))"},
    {"a root disagrees with its run",
     "SELECT r.id FROM stack_runs r JOIN task_runs t ON t.id = r.task_run_id WHERE r.seq = 0"
     " AND (r.run_paused <> (t.status = 'paused') OR (r.ended_at IS NULL) <> (t.ended_at IS NULL)"
     " OR (t.ended_at IS NOT NULL AND t.status <> r.status))"},
    {"an ended stack run has no end, or one without an end has",
     "SELECT id FROM stack_runs"
     " WHERE (ended_at IS NOT NULL) <> (status IN ('completed', 'failed', 'cancelled'))"},
    {"a pending stack run would not be found",
     "SELECT id FROM stack_runs"
     " WHERE status = 'pending' AND (ready_at IS NULL OR ready_at"  // given back: since then
     " NOT BETWEEN available_at AND greatest(available_at, updated_at))"},
    {"an ended lease would not be found",
     "SELECT s.id FROM stack_runs s JOIN stack_runs r ON r.task_run_id = s.task_run_id"
     " AND r.seq = 0 WHERE s.status = 'processing' AND NOT r.run_paused AND s.ready_at IS NULL"
     " AND (s.watch_at IS NULL OR s.watch_at > s.lease_until)"
     " AND (r.watch_at IS NULL OR r.watch_at > s.lease_until OR s.seq < r.open_seq)"},
    {"what nobody may claim is offered",
     "SELECT id FROM stack_runs WHERE ready_at IS NOT NULL"
     " AND status NOT IN ('pending', 'processing')"},
};

}  // namespace

std::string postgres_damage(pqxx::connection& connection, const std::string& schema) {
  std::string query;
  const auto check = [&query](const char* what, const char* broken_by) {
    if (!query.empty()) query += " UNION ALL ";
    query += std::string("SELECT '") + what + ": ' || x.id FROM (" + broken_by + ") AS x (id)";
  };
  for (const Rule& rule : kRules) check(rule.what, rule.broken_by);
  for (const auto& [what, broken_by] : kQueueRules) check(what, broken_by);
  for (const auto& [what, broken_by] : kWaitRules) check(what, broken_by);
  for (const auto& [what, broken_by] : kChildRules) check(what, broken_by);
  std::string found;
  pqxx::nontransaction tx(connection);
  tx.exec("SET search_path = " + schema);
  const auto rows = tx.exec(query);
  for (pqxx::result::size_type i = 0; i < rows.size(); ++i) {
    found += std::string(rows[i][0].c_str()) + "\n";
  }
  return found;
}

}  // namespace sequential::storage::test
