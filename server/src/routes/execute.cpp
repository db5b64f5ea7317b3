// POST /tasks/execute: accepts a run. What is answered 2xx is committed (P1).

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "async.h"
#include "routes/render.h"
#include "routes/router.h"
#include "sequential/base/bytes.h"
#include "sequential/base/fault.h"
#include "sequential/base/json_text.h"
#include "work/submission_fields.h"
#include "work/submissions.h"

namespace sequential::server {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kKeyMax = 256;                          // idempotency key, queue key
constexpr std::int64_t kDelayMax = 366ll * 24 * 3600 * 1000;  // ms
constexpr int kPriorityMax = 1'000;

Error field_error(std::string field, std::string why) {
  return Error{Errc::invalid_field, field + " " + why, field};
}

struct Execution {
  std::string task;
  int version = 0;
  std::string input = "{}";
  storage::Submission submission;
};

Result<std::int64_t> integer(const Json& value, const std::string& field, std::int64_t min,
                             std::int64_t max) {
  if (!value.is_number_integer() ||
      (value.is_number_unsigned() &&
       value.get<std::uint64_t>() > static_cast<std::uint64_t>(max))) {
    return field_error(
        field, "must be a whole number from " + std::to_string(min) + " to " + std::to_string(max));
  }
  const auto number = value.get<std::int64_t>();
  if (number < min || number > max) {
    return field_error(field, "must be from " + std::to_string(min) + " to " + std::to_string(max));
  }
  return number;
}

Result<std::string> text(const Json& value, const std::string& field, std::size_t max) {
  if (!value.is_string()) return field_error(field, "must be a text");
  auto out = value.get<std::string>();
  if (out.empty() || out.size() > max) {
    return field_error(field, "must have 1 to " + std::to_string(max) + " bytes");
  }
  return out;
}

Result<void> read_option(Execution& execution, const std::string& name, const Json& value,
                         int tags_max) {
  const std::string field = "options." + name;
  auto& submission = execution.submission;
  if (name == "idempotency_key" || name == "idempotencyKey") {
    SEQUENTIAL_TRY(submission.idempotency_key, text(value, field, kKeyBytesMax));
  } else if (name == "version") {
    SEQUENTIAL_TRY(const auto version, integer(value, field, 1, 1'000'000'000));
    execution.version = static_cast<int>(version);
  } else if (name == "priority") {
    SEQUENTIAL_TRY(const auto priority, integer(value, field, -kPriorityMax, kPriorityMax));
    submission.priority = static_cast<int>(priority);
  } else if (name == "delay_ms" || name == "delayMs") {
    SEQUENTIAL_TRY(const auto delay, integer(value, field, 0, kDelayMsMax));
    submission.delay = Millis{delay};
  } else if (name == "queue_key" || name == "queueKey") {
    SEQUENTIAL_TRY(submission.queue_key, text(value, field, kKeyMax));
  } else if (name == "tags") {
    SEQUENTIAL_TRY(submission.tags, read_tags(value, field, tags_max));
  } else {
    return field_error(field,
                       "is not an option; there are idempotency_key, version, priority, "
                       "delay_ms, queue_key and tags");
  }
  return success();
}

Result<void> read_member(Execution& execution, const HttpRequest& request, const std::string& name,
                         const Json& value, int tags_max) {
  if (name == "task" || name == "task_identifier" || name == "taskIdentifier") {
    if (!execution.task.empty()) return field_error(name, "names the task a second time");
    SEQUENTIAL_TRY(execution.task, text(value, name, 128));
  } else if (name == "input") {
    execution.input = json_member(request.body, "input");
  } else if (name == "options") {
    if (!value.is_object()) return field_error(name, "must be an object");
    for (const auto& [key, option] : value.items()) {
      SEQUENTIAL_TRY(read_option(execution, key, option, tags_max));
    }
  } else {
    return field_error(name, "is not a member of this request; there are task, input and options");
  }
  return success();
}

// The body without its input, which stays bytes: it may hold what only JSON.parse takes (an escaped
// lone surrogate), and may be large. Duplicate keys are refused, so there is one input at most.
Result<Json> parse_envelope(const std::string& body) {
  SEQUENTIAL_TRY(check_json(body, DuplicateKeys::refuse));
  const std::size_t first = body.find_first_not_of(" \t\r\n");
  if (body[first] != '{') return Error{Errc::invalid_field, "the body must be a JSON object"};
  const std::string_view input = json_member(body, "input");
  std::string envelope = body;
  if (!input.empty()) {
    envelope.replace(static_cast<std::size_t>(input.data() - body.data()), input.size(), "null");
  }
  Json parsed = Json::parse(envelope, nullptr, false);
  if (!parsed.is_object()) {
    return Error{Errc::invalid_json, "only the input may hold an escaped lone surrogate"};
  }
  return parsed;
}

Result<Execution> read_body(const RouteContext& context, const HttpRequest& request) {
  SEQUENTIAL_TRY(const Json body, parse_envelope(request.body));
  Execution execution;
  for (const auto& [name, value] : body.items()) {
    SEQUENTIAL_TRY(read_member(execution, request, name, value, context.options.tags_max));
  }
  if (execution.task.empty())
    return field_error("task", "is missing: the name of a published task");
  if (execution.input.size() > static_cast<std::size_t>(context.options.payload_bytes_max)) {
    return Error{Errc::payload_too_large, "the input is larger than limits.payload_bytes", "input"};
  }
  SEQUENTIAL_TRY(read_key_header(request, execution.submission.idempotency_key));
  SEQUENTIAL_TRY(check_key(execution.submission.idempotency_key));
  return execution;
}

HttpResponse accepted(const storage::Submitted& submitted, const storage::TaskRun* finished,
                      bool in_queue) {
  const std::string id = std::to_string(submitted.run.value);
  JsonObject links;
  links.string("self", "/runs/" + id).string("stack", "/runs/" + id + "/stack");
  links.string("logs", "/runs/" + id + "/logs");
  const auto status = finished != nullptr ? finished->status : submitted.status;
  JsonObject data;
  data.number("taskRunId", submitted.run.value)
      .number("stackRunId", submitted.root.value)
      .string("status", storage::run_status_name(status))
      .boolean("existing", submitted.existing);
  if (in_queue && status == storage::RunStatus::queued) data.string("waiting_for", "queue");
  data.raw("links", std::move(links).text());
  const bool over = finished != nullptr && storage::is_terminal(finished->status);
  if (finished != nullptr && !finished->result.empty()) data.raw("result", finished->result);
  if (finished != nullptr && !finished->error.empty()) data.raw("error", finished->error);
  if (finished != nullptr && !finished->pause_reason.empty()) {
    data.string("pause_reason", finished->pause_reason);
  }
  const bool good = !over || finished->status == storage::RunStatus::completed;
  HttpResponse response = json_response(
      over || submitted.existing ? 200 : 202,
      std::move(JsonObject().boolean("success", good).raw("data", std::move(data).text())).text());
  response.headers.emplace_back("Location", "/runs/" + id);
  return response;
}

Session session_of(const Execution& execution, const storage::Submitted& submitted,
                   std::shared_ptr<const engine::TaskCode> code) {
  Session session;
  session.root = submitted.root;
  session.code = std::move(code);
  session.input = execution.input;
  session.seed = execution.submission.seed;
  session.started_at_ms = submitted.created_at.ms;
  return session;
}

}  // namespace

Answer route_execute(RouteContext& context, const HttpRequest& request) {
  if (!context.ready) co_return problem(Error{Errc::shutting_down, "the server is stopping"});
  auto read = read_body(context, request);
  if (read.has_error()) co_return problem(read.error());
  Execution& execution = read.value();
  auto code = co_await context.processor.newest_code(execution.task, execution.version);
  if (code.has_error()) co_return problem(code.error());

  auto& submission = execution.submission;
  submission.task_function_id = code.value()->id;
  submission.task_name = execution.task;
  submission.task_version = code.value()->version;
  submission.input = execution.input;
  submission.seed = random_bytes(16);
  if (!submission.idempotency_key.empty()) {
    submission.request_hash = request_hash(submission, execution.version);
  }
  if (context.options.handoff) submission.handoff = context.options.lease;
  submission.may_block = context.processor.idle();
  auto submit = [&context, &submission](auto done) {
    context.store.submit(submission, std::move(done));
  };
  auto stored = co_await completes<Result<storage::Submitted>>(std::move(submit));
  if (stored.has_error()) co_return problem(stored.error());
  storage::Submitted& submitted = stored.value();

  const auto prefer = parse_prefer(request.prefer);
  const int wait_s = std::min(prefer.wait_s, context.options.wait_seconds_max);
  const MonoTime deadline = context.clock.monotonic() + std::chrono::seconds(std::max(wait_s, 0));
  std::unique_ptr<RunWatch::Ticket> ticket;
  if (wait_s > 0) {
    const auto executor = co_await net::this_coro::executor;
    ticket = context.processor.watch().enter(executor, submitted.run, deadline);
  }
  const bool handed = submitted.work.has_value();
  if (handed) {
    context.processor.remember(submitted.run, session_of(execution, submitted, code.value()));
    context.processor.adopt(std::move(*submitted.work));
  } else if (!submitted.existing) {
    context.processor.arm_timer(submitted.root, submission.delay);
  }
  const bool in_queue = context.processor.queues().tell(submission, submitted);
  if (wait_s <= 0) co_return accepted(submitted, nullptr, in_queue);
  auto run = co_await wait_for_run(context, submitted.run, deadline, std::move(ticket), handed);
  if (run.has_error()) co_return accepted(submitted, nullptr, in_queue);
  co_return accepted(submitted, &run.value(), in_queue);
}

}  // namespace sequential::server
