// Signals and webhooks of runs that are retried or forked. The statements are prepared when they
// are needed: people ask for this, rarely.
//
// The address of a webhook that a fork has from its source is the source's: one answer is for both.
// The key of the fork's row is that of the first run's, a colon and the fork's id.

#include "sqlite/rewound_signals.h"

namespace sequential::storage::sqlite {
namespace {

constexpr int kAddressRunsMax = 100;  // one answer settles at most so many runs

// w: a row of webhooks.
const std::string kAddress = "substr(w.key, 1, instr(w.key || ':', ':') - 1)";

void give_back(Transaction& tx, const Retry& retry, const std::string& changed,
               const std::string& given_up) {
  // What it sent to itself will be sent anew.
  const std::string mark = "call:" + std::to_string(retry.run.value) + ":";
  Statement own{tx.sql.db,
      "DELETE FROM signals WHERE task_run_id = ?1 AND substr(key, 1, length(?3)) = ?3"
      " AND CAST(substr(key, length(?3) + 1) AS INTEGER) > ?2"};
  own.run(retry.run, retry.to.calls, std::string_view(mark));
  // The payload is the result of the call that took it.
  Statement back{tx.sql.db,
      "UPDATE signals SET taken_seq = NULL, payload = s.result FROM (SELECT seq, result"
      " FROM stack_runs WHERE " + changed + " AND status = 'completed' AND service_name = 'signal'"
      " AND method_name = 'wait') s WHERE task_run_id = ?1 AND taken_seq = s.seq"};
  back.run(retry.run, retry.to.calls, retry.to.through, retry.call, given_up);
}

}  // namespace

void rewind_signals(Transaction& tx, const Retry& retry, const std::string& again,
                    const std::string& given_up) {
  const RewindTo& to = retry.to;
  const std::string changed = "task_run_id = ?1 AND (seq > ?2 OR (" + again + "))";
  give_back(tx, retry, changed, given_up);
  // Addresses stay known, so that they answer that they are gone.
  Statement gone{tx.sql.db,
      "UPDATE webhooks SET name = 'gone', expires_at = 0, payload = NULL WHERE task_run_id = ?1"
      " AND name IN (SELECT 'webhook:' || seq FROM stack_runs WHERE " + changed +
      " AND service_name = 'signal' AND method_name = 'webhook')"};
  gone.run(retry.run, to.calls, to.through, retry.call, given_up);
  Statement forget{tx.sql.db, "DELETE FROM retries WHERE task_run_id = ?1 AND calls >= ?2"};
  forget.run(retry.run, to.calls);
  Statement note{tx.sql.db, "INSERT INTO retries (task_run_id, n, calls) VALUES (?1, ?2, ?3)"};
  note.run(retry.run, to.rewinds + 1, to.calls);
}

Result<void> check_webhooks(Transaction& tx, const Fork& fork) {
  Statement select{tx.sql.db,
      "SELECT s.seq FROM webhooks w JOIN stack_runs s ON s.task_run_id = ?1"
      " AND s.seq BETWEEN 1 AND ?2 AND s.delivered_as BETWEEN 1 AND ?3"
      " AND w.name = 'webhook:' || s.seq WHERE w.task_run_id = ?1 AND w.used_at IS NULL"
      " AND (SELECT count(*) FROM webhooks x WHERE x.key >= " + kAddress + " AND x.key < " +
      kAddress + " || ';') >= ?4 LIMIT 1"};
  Cursor row = select.query(fork.source, fork.to.calls, fork.to.through, kAddressRunsMax);
  if (!row.next()) return success();
  return Error(Errc::conflict, "too many runs have the address of the webhook of call " +
                                   std::to_string(row.integer(0)) +
                                   ": fork at that call, so that the fork makes its own");
}

void fork_signals(Transaction& tx, const Fork& fork, TaskRunId run, WallTime now) {
  const std::int64_t edited = fork.outcome ? fork.outcome->seq : 0;
  Statement copy{tx.sql.db,
      "INSERT OR IGNORE INTO webhooks (key, task_run_id, expires_at, used_at, name, rules, payload)"
      " SELECT " + kAddress + " || ':' || ?2, ?2, w.expires_at, w.used_at, w.name, w.rules,"
      " w.payload FROM webhooks w JOIN stack_runs c ON c.task_run_id = ?2 AND c.seq > 0"
      " AND w.name = 'webhook:' || c.seq WHERE w.task_run_id = ?1 AND c.status = 'completed'"
      " AND c.seq <> ?3 AND c.service_name = 'signal' AND c.method_name = 'webhook'"};
  copy.run(fork.source, run, edited);
  // An outcome of the fork's own for a wait is that webhook's answer in the fork.
  Statement answer{tx.sql.db,
      "UPDATE webhooks SET used_at = ?3, payload = c.result FROM (SELECT args, result"
      " FROM stack_runs WHERE task_run_id = ?1 AND seq = ?2 AND status = 'completed'"
      " AND service_name = 'signal' AND method_name = 'wait') c WHERE task_run_id = ?1"
      " AND substr(c.args, 1, length(name) + 3) = '[\"' || name || '\"'"};
  answer.run(run, edited, now);
  // Waits look at once whether there is an answer; then they wait for as long as they did at first.
  Statement waits{tx.sql.db,
      "UPDATE stack_runs SET created_at = ?2, available_at = ?2 WHERE task_run_id = ?1 AND seq > 0"
      " AND ended_at IS NULL AND service_name = 'signal' AND method_name = 'wait'"};
  waits.run(run, now);
}

}  // namespace sequential::storage::sqlite
