#include "routes/render.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>

#include "schedules/spec.h"
#include "sequential/base/json_text.h"

namespace sequential::server {
namespace {

void time_or_null(JsonObject& object, std::string_view key, const std::optional<WallTime>& time) {
  if (time) {
    object.string(key, iso_time(*time));
  } else {
    object.null(key);
  }
}

void id_or_null(JsonObject& object, std::string_view key, StackRunId id) {
  if (id) {
    object.number(key, id.value);
  } else {
    object.null(key);
  }
}

void text_if(JsonObject& object, std::string_view key, const std::string& text) {
  if (!text.empty()) object.string(key, text);
}

void raw_if(JsonObject& object, std::string_view key, const std::string& json) {
  if (!json.empty()) object.raw(key, json);
}

std::string render_attributes(const std::vector<storage::RunTag>& attributes) {
  JsonObject object;
  for (const auto& one : attributes) {
    one.number ? object.raw(one.key, one.value) : object.string(one.key, one.value);
  }
  return std::move(object).text();
}

JsonObject run_head(const storage::TaskRun& run, bool in_queue) {
  JsonObject object;
  object.number("id", run.id.value)
      .string("task", run.task_name)
      .number("version", run.task_version)
      .string("status", storage::run_status_name(run.status));
  if (in_queue) object.string("waiting_for", "queue");
  text_if(object, "pause_reason", run.pause_reason);
  raw_if(object, "pause_detail", run.pause_detail);
  object.number("calls", run.call_count)
      .number("outcomes", run.journal_length)
      .number("logs", run.log_count)
      .number("root_stack_run_id", run.root.value);
  id_or_null(object, "waiting_on_stack_run_id", run.waiting_on_stack_run_id);
  if (run.parent_stack_run_id) {
    object.number("parent_stack_run_id", run.parent_stack_run_id.value);
  }
  if (run.priority != 0) object.number("priority", run.priority);
  text_if(object, "queue_key", run.queue_key);
  if (!is_tick_key(run.idempotency_key)) {
    text_if(object, "idempotency_key", run.idempotency_key);
  }
  raw_if(object, "tags", run.tags);
  if (run.crashes != 0) object.number("crashes", run.crashes);
  object.string("created_at", iso_time(run.created_at))
      .string("updated_at", iso_time(run.updated_at));
  time_or_null(object, "started_at", run.started_at);
  time_or_null(object, "ended_at", run.ended_at);
  return object;
}

std::string render_attempt(const storage::Attempt& attempt) {
  JsonObject object;
  object.number("attempt", attempt.attempt)
      .number("epoch", attempt.epoch)
      .string("node", attempt.node)
      .string("outcome", attempt.outcome);
  raw_if(object, "error", attempt.error);
  time_or_null(object, "started_at", attempt.started_at);
  object.string("ended_at", iso_time(attempt.ended_at));
  return std::move(object).text();
}

// The try that ended a call, or is under way, is the row itself and has no record of its own
// (docs/decisions/0002); people want it beside the others. A root has one per slice, and no row
// tells of those that ended well.
bool shows_last_try(const storage::StackRun& row, const std::vector<storage::Attempt>& attempts) {
  const bool under_way = row.status == storage::StackStatus::processing;
  if (row.seq == 0 || row.attempt == 0) return false;
  if (!under_way && !storage::is_terminal(row.status)) return false;
  // A person had it made again: its tries are counted from 1 again.
  const auto retried = std::find_if(attempts.rbegin(), attempts.rend(), [](const auto& one) {
    return one.outcome == "retried";
  });
  return std::none_of(retried.base(), attempts.end(), [&row](const storage::Attempt& one) {
    return one.attempt == row.attempt && one.outcome != "released";  // given back: it did not count
  });
}

std::string render_last_try(const storage::StackRun& row) {
  const bool under_way = row.status == storage::StackStatus::processing;
  JsonObject object;
  object.number("attempt", row.attempt)
      .number("epoch", row.epoch)
      .string("node", row.lease_owner)
      .string("outcome", under_way ? "running" : storage::stack_status_name(row.status));
  raw_if(object, "error", row.error);
  time_or_null(object, "started_at", row.started_at);
  time_or_null(object, "ended_at", row.ended_at);
  return std::move(object).text();
}

void counts(JsonObject& object, std::string_view key,
            const std::vector<std::pair<std::string, std::int64_t>>& rows) {
  JsonObject inner;
  for (const auto& [name, count] : rows) inner.number(name, count);
  object.raw(key, std::move(inner).text());
}

}  // namespace

std::string iso_time(WallTime time) {
  const std::int64_t ms = ((time.ms % 1000) + 1000) % 1000;
  const std::time_t seconds = static_cast<std::time_t>((time.ms - ms) / 1000);
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  std::array<char, 64> text{};
  const int length = std::snprintf(text.data(), text.size(), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ",
                                   utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday, utc.tm_hour,
                                   utc.tm_min, utc.tm_sec, static_cast<int>(ms));
  return {text.data(), static_cast<std::size_t>(length)};
}

std::string render_state(const storage::RunState& state) {
  JsonObject object;
  object.raw("status", state.status).raw("progress", state.progress);
  if (state.version == 0) {
    object.null("updated_at");
  } else {
    object.string("updated_at", iso_time(state.updated_at));
  }
  return std::move(object).text();
}

std::string render_end(const storage::TaskRun& run, const storage::RunState& state) {
  constexpr std::size_t kPayloadMax = 64 << 10;
  JsonObject object = run_head(run, false);
  object.raw("state", render_state(state));
  const auto payload = [&object](std::string_view key, const std::string& json) {
    if (json.size() <= kPayloadMax) {
      object.raw(key, json);
    } else {
      object.number(std::string(key) + "_bytes", static_cast<std::int64_t>(json.size()));
    }
  };
  payload("result", run.result);
  payload("error", run.error);
  return std::move(object).text();
}

std::string render_run(const storage::RunView& view) {
  JsonObject object = run_head(view.run, view.in_queue);
  if (view.parent) {
    object.number("parent_run_id", view.parent->parent.value);
    if (view.parent->seq > 0) object.number("parent_seq", view.parent->seq);
    object.number("depth", view.parent->depth);
  }
  if (view.cancel_at) {
    object.raw("cancelling", "true").string("cancel_at", iso_time(*view.cancel_at));
  }
  if (view.origin.rewinds > 0) object.number("rewinds", view.origin.rewinds);
  if (view.origin.forked_from) {
    JsonObject source;
    source.number("run", view.origin.forked_from.value);
    object.raw("forked_from", std::move(source.number("position", view.origin.forked_at)).text());
  }
  object.raw("state", render_state(view.state));
  if (!view.attributes.empty()) object.raw("attributes", render_attributes(view.attributes));
  object.raw("input", view.run.input).raw("result", view.run.result).raw("error", view.run.error);
  return std::move(object).text();
}

std::string render_run_summary(const storage::TaskRun& run, std::string_view progress,
                               bool in_queue) {
  JsonObject object = run_head(run, in_queue);
  if (!progress.empty()) object.raw("progress", progress);
  return std::move(object).text();
}

std::string render_stack_run(const storage::StackRun& row,
                             const std::vector<storage::Attempt>& attempts) {
  JsonObject object;
  object.number("id", row.id.value)
      .number("task_run_id", row.task_run_id.value)
      .number("seq", row.seq);
  id_or_null(object, "parent_stack_run_id", row.parent_stack_run_id);
  text_if(object, "service", row.service_name);
  text_if(object, "method", row.method_name);
  object.string("status", storage::stack_status_name(row.status))
      .number("attempt", row.attempt)
      .number("epoch", row.epoch);
  raw_if(object, "args", row.args);
  raw_if(object, "options", row.options);
  raw_if(object, "result", row.result);
  raw_if(object, "error", row.error);
  if (row.seq > 0) object.string("delivery", storage::delivery_name(row.delivery));
  if (row.delivered_as > 0) object.number("delivered_as", row.delivered_as);
  if (row.slice > 0) object.number("slice", row.slice);
  if (row.source_line > 0) object.number("source_line", row.source_line);
  if (row.via) object.string("via", storage::via_name(*row.via));
  if (row.hop_us) object.number("hop_us", *row.hop_us);
  if (row.resume_kind) object.string("resume_kind", storage::resume_kind_name(*row.resume_kind));
  if (row.resume_us) object.number("resume_us", *row.resume_us);
  text_if(object, "lease_owner", row.lease_owner);
  time_or_null(object, "lease_until", row.lease_until);
  object.string("available_at", iso_time(row.available_at))
      .string("created_at", iso_time(row.created_at))
      .string("updated_at", iso_time(row.updated_at));
  time_or_null(object, "started_at", row.started_at);
  time_or_null(object, "ended_at", row.ended_at);
  std::vector<std::string> tries;
  for (const auto& attempt : attempts) tries.push_back(render_attempt(attempt));
  if (shows_last_try(row, attempts)) tries.push_back(render_last_try(row));
  object.raw("attempts", json_array(tries));
  return std::move(object).text();
}

std::string render_log(const storage::LogEntry& entry) {
  JsonObject object;
  object.number("n", entry.n).string("level", entry.level).string("message", entry.message);
  raw_if(object, "fields", entry.fields);
  object.string("at", iso_time(entry.at));
  return std::move(object).text();
}

std::string render_function(const storage::TaskFunction& function, bool with_code) {
  JsonObject object;
  object.string("name", function.name)
      .number("version", function.version)
      .string("description", function.description)
      .string("code_sha256", function.code_sha256)
      .string("created_at", iso_time(function.created_at));
  raw_if(object, "input_schema", function.input_schema);
  raw_if(object, "options", function.options);
  if (with_code) object.string("code", function.code);
  return std::move(object).text();
}

std::string render_status(const storage::StoreStatus& status) {
  JsonObject object;
  object.string("kind", status.kind)
      .string("location", status.location)
      .string("schema_version", status.schema_version)
      .number("size_bytes", status.size_bytes);
  counts(object, "tables", status.tables);
  counts(object, "runs", status.runs);
  counts(object, "stack_runs", status.stack_runs);
  object.number("oldest_runnable_ms", status.oldest_runnable_ms);
  return std::move(object).text();
}

std::string json_array(const std::vector<std::string>& items) {
  std::string out = "[";
  for (const auto& item : items) {
    if (out.size() > 1) out += ',';
    out += item;
  }
  return out + "]";
}

}  // namespace sequential::server
