// The SQL of the queries.

#include "postgres/queries.h"

namespace sequential::storage::postgres {
namespace {

constexpr const char* kFunction =
    "SELECT id, name, version, code_sha256, created_at, description, input_schema, options";
constexpr const char* kRun =
    "SELECT t.id, t.task_function_id, t.task_name, t.task_version, t.root_stack_run_id, t.status,"
    " t.pause_reason, t.pause_detail, t.parent_stack_run_id, t.idempotency_key, t.priority,"
    " t.queue_key, t.tags, t.seed, t.created_at, t.updated_at, t.started_at, t.ended_at,"
    " r.status, r.waiting_on_stack_run_id, r.journal_length, r.call_count, r.log_count,"
    " r.crashes, r.updated_at";
constexpr const char* kStackRun =
    "SELECT id, task_run_id, seq, parent_stack_run_id, service_name, method_name, args, options,"
    " delivery, status, result, error, attempt, epoch, lease_owner, lease_until, available_at,"
    " delivered_as, slice, source_line, via, hop_us, resume_kind, resume_us, created_at,"
    " updated_at, started_at, ended_at FROM ";

}  // namespace

std::string_view run_columns() { return kRun; }

QueryStatements::QueryStatements(const std::string& schema) {
  const std::string quoted = "\"" + schema + "\".";
  name_lists(quoted);
  name_view(quoted);
  name_contents(quoted);
}

void QueryStatements::name_lists(const std::string& s) {
  const std::string function = kFunction, run_columns = kRun;
  const std::string functions = " FROM " + s + "task_functions ";
  const std::string with_root =
      " FROM " + s + "task_runs t JOIN " + s + "stack_runs r ON r.id = t.root_stack_run_id";
  const std::string stack_run_columns = kStackRun + s + "stack_runs ";

  function_newest = Statement(function + ", code" + functions +
      "WHERE name = $1::bytea ORDER BY version DESC LIMIT 1");
  function_version = Statement(function + ", code" + functions +
      "WHERE name = $1::bytea AND version = $2::integer");
  function_by_id = Statement(function + ", code" + functions +
      "WHERE id = $1::bigint");
  functions_newest = Statement(function + functions +
      "f WHERE version = (SELECT max(version)" + functions + "n WHERE n.name = f.name)"
      " ORDER BY name");
  functions_of_name = Statement(function + functions +
      "WHERE name = $1::bytea ORDER BY version DESC");

  run = Statement(run_columns + ", t.input, t.result, t.error" + with_root +
      " WHERE t.id = $1::bigint");
  began = Statement("SELECT created_at FROM " + s + "stack_runs WHERE id = $1::bigint");
  origin = Statement("SELECT coalesce(forked_from, 0), coalesce(forked_at, 0), rewinds FROM " + s +
      "task_runs WHERE id = $1::bigint");
  failed_calls = Statement(
      "SELECT seq, delivered_as, CASE WHEN length(error) <= $3::bigint THEN error ELSE '' END"
      " FROM " + s + "stack_runs WHERE task_run_id = $1::bigint AND seq > 0 AND delivered_as > 0"
      " AND status = 'failed' ORDER BY delivered_as DESC LIMIT $2::bigint");
  made_after = Statement("SELECT (SELECT coalesce(max(r.n), 0) FROM " + s +
      "retries r WHERE r.task_run_id = s.task_run_id AND r.calls < s.seq) FROM " + s +
      "stack_runs s WHERE s.id = $1::bigint AND s.task_run_id = $2::bigint"
      " AND s.epoch = $3::bigint AND s.status = 'processing'");
  // One statement per kind of filter, so that each walks the index that fits it.
  const std::string page = " ORDER BY t.id DESC LIMIT $2::bigint";
  runs = Statement(run_columns + with_root + " WHERE t.id < $1::bigint" + page);
  runs_by_name = Statement(run_columns + with_root +
      " WHERE t.task_name = $3::bytea AND t.id < $1::bigint" + page);
  // $4: name or ''; $5, $6: the root's status must, must not be this, or ''
  runs_by_status = Statement(run_columns + with_root +
      " WHERE t.status = $3::text AND t.id < $1::bigint"
      " AND ($4::bytea = ''::bytea OR t.task_name = $4::bytea)"
      " AND ($5::text = '' OR r.status = $5::text) AND ($6::text = '' OR r.status <> $6::text)" +
      page);
  parent_of = Statement(
      "SELECT k.parent_run, coalesce(c.id, 0), coalesce(c.seq, 0), k.depth FROM " + s +
      "child_tasks k JOIN " + s + "task_runs t ON t.id = k.child_run LEFT JOIN " + s +
      "stack_runs c ON c.id = t.parent_stack_run_id WHERE k.child_run = $1::bigint");
  // $2: the open ones
  const std::string trace =
      "SELECT seq, service_name, method_name, status, attempt, delivered_as, created_at,"
      " started_at, ended_at FROM " + s + "stack_runs WHERE task_run_id = $1::bigint";
  calls = Statement("SELECT * FROM (" + trace +
      " AND seq = ANY($2::bigint[]) AND seq > $4::bigint ORDER BY seq LIMIT $6::bigint) a"
      " UNION ALL SELECT * FROM (" + trace +
      " AND seq > greatest($3::bigint, $4::bigint) AND seq <= $5::bigint ORDER BY seq"
      " LIMIT $6::bigint) b ORDER BY 1 LIMIT $6::bigint");
  stack_run = Statement(stack_run_columns + "WHERE id = $1::bigint");
  stack = Statement(stack_run_columns +
      "WHERE task_run_id = $1::bigint AND seq >= $2::bigint ORDER BY seq LIMIT $3::bigint");
}

void QueryStatements::name_view(const std::string& s) {
  // Each attribute: its key and its value, with their lengths before them, and whether it is a
  // number.
  const std::string attributes =
      "(SELECT string_agg(int4send(octet_length(g.key)) || g.key || int4send(octet_length(g.value))"
      " || g.value || CASE WHEN g.number IS NULL THEN '\\x00'::bytea ELSE '\\x01'::bytea END,"
      " ''::bytea ORDER BY g.key) FROM " + s + "run_tags g"
      " WHERE g.task_run_id = t.id AND g.kind = 1)";
  view = Statement(
      std::string(kRun) + ", t.input, t.result, t.error,"
      " v.version, v.updated_at, v.progress, v.status, k.parent_run, c.seq, k.depth, x.deadline,"
      " q.run IS NOT NULL, coalesce(t.forked_from, 0), coalesce(t.forked_at, 0), t.rewinds, " +
      attributes +
      " FROM " + s + "task_runs t JOIN " + s + "stack_runs r ON r.id = t.root_stack_run_id"
      " LEFT JOIN " + s + "run_states v ON v.task_run_id = t.id"
      " LEFT JOIN " + s + "child_tasks k ON k.child_run = t.id"
      " LEFT JOIN " + s + "stack_runs c ON c.id = t.parent_stack_run_id"
      " LEFT JOIN " + s + "cancellations x ON x.task_run_id = t.id AND x.deadline IS NOT NULL"
      " AND r.ended_at IS NULL AND r.delivered_as > 0"
      " LEFT JOIN " + s + "queue_runs q ON q.run = t.id AND q.state = 1"
      " WHERE t.id = $1::bigint");
}

void QueryStatements::name_contents(const std::string& s) {
  const std::string with_root =
      " FROM " + s + "task_runs t JOIN " + s + "stack_runs r ON r.id = t.root_stack_run_id";
  attempts = Statement(
      "SELECT attempt, epoch, node, started_at, ended_at, outcome, error FROM " + s +
      "attempts WHERE stack_run_id = $1::bigint ORDER BY epoch");
  logs = Statement("SELECT n, level, message, fields, at FROM " + s +
      "task_logs WHERE task_run_id = $1::bigint AND n > $2::bigint ORDER BY n LIMIT $3::bigint");
  // The entry of number 0 is the request to end: the root's row has its position only.
  const auto of_request = [&s](const std::string& column) {
    return "CASE WHEN seq = 0 THEN (SELECT c." + column + " FROM " + s +
           "cancellations c WHERE c.task_run_id = $1::bigint)";
  };
  const std::string time = of_request("at") + " ELSE ended_at END";
  const std::string payload =
      of_request("error") + " WHEN status = 'failed' THEN error ELSE result END";
  states = Statement("SELECT task_run_id, version, updated_at, progress, status FROM " + s +
      "run_states WHERE task_run_id = ANY($1::bigint[])");
  // The lengths are known without reading the payloads; so is whether there is more.
  journal = Statement(
      "SELECT seq, service_name, method_name, delivered_as, status, " + time + ", args, " +
      payload + ","
      " (SELECT call_count FROM " + s + "stack_runs WHERE task_run_id = $1::bigint AND seq = 0)"
      " FROM (SELECT *, row_number() OVER (ORDER BY seq) AS n, coalesce(sum(bytes) OVER"
      " (ORDER BY seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before"
      " FROM (SELECT *, octet_length(args) + CASE WHEN delivered_as = 0 THEN 0 ELSE"
      " coalesce(octet_length(result), 0) + coalesce(octet_length(error), 0) END AS bytes"
      " FROM " + s + "stack_runs"
      " WHERE task_run_id = $1::bigint AND seq > $2::bigint AND (seq > 0 OR delivered_as > 0)"
      " ORDER BY seq LIMIT $4::bigint) c) p"
      " WHERE before < $3::bigint OR n = 1 ORDER BY seq");
  // What came after the journal position that the root's newest slice had seen is of calls from
  // undelivered_seq on; what came before may be of any call.
  outcomes = Statement("SELECT seq, delivered_as, status, " + time + ", " + payload + " FROM " + s +
      "stack_runs WHERE task_run_id = $1::bigint AND seq >= (SELECT CASE"
      " WHEN $2::bigint >= r.journal_length THEN r.call_count + 1"
      " WHEN $2::bigint >= r.delivered_through THEN r.undelivered_seq ELSE 0 END FROM " +
      s + "stack_runs r WHERE r.task_run_id = $1::bigint AND r.seq = 0)"
      " AND delivered_as > $2::bigint ORDER BY delivered_as LIMIT $3::bigint");

  keystore_get = Statement("SELECT namespace, key, version, key_id, updated_at, sealed FROM " + s +
      "keystore WHERE namespace = $1::bytea AND key = $2::bytea");
  keystore_list = Statement("SELECT namespace, key, version, key_id, updated_at FROM " + s +
      "keystore WHERE $1::bytea = ''::bytea OR namespace = $1::bytea ORDER BY namespace, key");

  sizes = Statement(
      "SELECT c.relname, c.reltuples::bigint, pg_total_relation_size(c.oid) FROM pg_class c"
      " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1::text"
      " AND c.relkind = 'r'");
  run_counts = Statement("SELECT status, count(*) FROM " + s + "task_runs GROUP BY status");
  suspended_count = Statement("SELECT count(*)" + with_root +
      " WHERE t.status = 'running' AND r.status = 'suspended_waiting_child'");
  stack_run_counts = Statement("SELECT status, count(*) FROM " + s + "stack_runs GROUP BY status");
  oldest_runnable = Statement("SELECT " + s +
      "now_ms($1::bigint) - min(ready_at) FROM " + s +
      "stack_runs WHERE ready_at IS NOT NULL AND status = 'pending'");
  schema_version = Statement("SELECT max(version) FROM " + s + "schema_migrations");
}

}  // namespace sequential::storage::postgres
