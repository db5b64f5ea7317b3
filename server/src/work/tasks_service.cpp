#include "work/tasks_service.h"

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "async.h"
#include "sequential/base/bytes.h"
#include "sequential/base/json_text.h"
#include "sequential/storage/children.h"
#include "work/call_key.h"
#include "work/processor.h"
#include "work/submission_fields.h"
#include "work/submissions.h"
#include "work/until_stored.h"

namespace sequential::server {

// What a task asked for.
struct ChildRequest {
  int version = 0;  // 0: the newest
  bool has_priority = false;
  bool detached = false;
  storage::Submission submission;
  std::shared_ptr<const engine::TaskCode> code;
};

namespace {

using Json = nlohmann::json;

constexpr std::size_t kTaskNameMax = 128;
constexpr int kAttemptsMax = 1'000;  // of a store that cannot be reached

Error refuse(std::string message) { return {Errc::invalid_arguments, std::move(message), "args"}; }

services::CallReply failed(const Error& error) {
  services::CallError failure;
  failure.errc = error.code;
  failure.message = error.message;
  failure.retryable = error.code == Errc::unavailable || error.code == Errc::overloaded;
  return services::CallReply::fail(std::move(failure));
}

Result<std::int64_t> whole_number(const Json& value, const std::string& name, std::int64_t min,
                                  std::int64_t max) {
  const bool fits = value.is_number_integer() &&
                    !(value.is_number_unsigned() &&
                      value.get<std::uint64_t>() > static_cast<std::uint64_t>(max));
  if (!fits || value.get<std::int64_t>() < min || value.get<std::int64_t>() > max) {
    return refuse("the option " + name + " must be a whole number from " + std::to_string(min) +
                  " to " + std::to_string(max));
  }
  return value.get<std::int64_t>();
}

Result<void> read_key(ChildRequest& request, const Json& value) {
  if (!request.detached) {
    return refuse("idempotencyKey is an option of startTask: callTask starts its run once anyway");
  }
  const auto key = value.is_string() ? value.get<std::string>() : std::string();
  if (key.empty() || key.size() > kKeyBytesMax || key.starts_with(kOwnKeys)) {
    return refuse("the option idempotencyKey must be a text of 1 to " +
                  std::to_string(kKeyBytesMax) + " bytes that does not begin with " +
                  std::string(kOwnKeys));
  }
  request.submission.idempotency_key = key;
  return success();
}

Result<void> read_option(ChildRequest& request, const std::string& name, const Json& value,
                         int tags_max) {
  auto& submission = request.submission;
  if (name == "version") {
    SEQUENTIAL_TRY(const auto version, whole_number(value, name, 1, 1'000'000'000));
    request.version = static_cast<int>(version);
  } else if (name == "priority") {
    SEQUENTIAL_TRY(const auto priority, whole_number(value, name, -kPriorityMax, kPriorityMax));
    submission.priority = static_cast<int>(priority);
    request.has_priority = true;
  } else if (name == "delayMs") {
    SEQUENTIAL_TRY(const auto delay, whole_number(value, name, 0, kDelayMsMax));
    submission.delay = Millis{delay};
  } else if (name == "tags") {
    auto tags = read_tags(value, name, tags_max);
    if (tags.has_error()) return refuse("the option " + tags.error().message);
    submission.tags = std::move(tags).value();
  } else if (name == "idempotencyKey") {
    return read_key(request, value);
  } else {
    return refuse("there is no option " + clip_utf8(name, kTaskNameMax) +
                  "; there are version, priority, tags, delayMs and, for startTask, "
                  "idempotencyKey");
  }
  return success();
}

// [{"task": name, "input": …, "options": {…}}]. The input stays the bytes that it is.
Result<ChildRequest> read_request(const storage::Work& work, int tags_max) {
  const Error shape = refuse("tasks." + work.method_name +
                             " takes one object with task, input and options, as callTask and "
                             "startTask make it");
  std::string_view list = work.args;
  const auto first = list.find_first_not_of(" \t\r\n[");
  const auto last = list.find_last_of(']');
  if (first == std::string_view::npos || last == std::string_view::npos || last < first) {
    return shape;
  }
  const std::string one(list.substr(first, last - first));
  if (one.empty() || one.front() != '{') return shape;
  if (check_json(one, DuplicateKeys::refuse).has_error()) return shape;
  ChildRequest request;
  request.detached = work.method_name == "start";
  const std::string_view input = json_member(one, "input");
  request.submission.input = input.empty() ? "{}" : std::string(input);
  std::string envelope = one;
  if (!input.empty()) {
    envelope.replace(static_cast<std::size_t>(input.data() - one.data()), input.size(), "null");
  }
  const Json body = Json::parse(envelope, nullptr, false);
  if (!body.is_object()) return shape;
  for (const auto& [name, value] : body.items()) {
    if (name == "task" && value.is_string()) {
      request.submission.task_name = value.get<std::string>();
    } else if (name == "options" && value.is_object()) {
      for (const auto& [option, what] : value.items()) {
        SEQUENTIAL_TRY(read_option(request, option, what, tags_max));
      }
    } else if (name != "input") {
      return shape;
    }
  }
  const auto& task = request.submission.task_name;
  if (task.empty() || task.size() > kTaskNameMax) {
    return refuse("the name of a task has 1 to " + std::to_string(kTaskNameMax) + " bytes");
  }
  return request;
}

Session session_of(const ChildRequest& request, const storage::Submitted& run) {
  Session session;
  session.root = run.root;
  session.code = request.code;
  session.input = request.submission.input;
  session.seed = request.submission.seed;
  session.started_at_ms = run.created_at.ms;
  return session;
}

}  // namespace

std::string_view TasksService::description() const {
  return "Starts runs of other tasks: callTask and startTask";
}

std::vector<services::MethodInfo> TasksService::methods() const {
  return {{"run", "starts a task run and waits for its end: its result or its error"},
          {"start", "starts a task run that goes on by itself: {runId}"}};
}

services::CallPolicy TasksService::policy(std::string_view /*method*/) const {
  services::CallPolicy policy;
  policy.attempts_max = kAttemptsMax;
  return policy;
}

net::awaitable<InnerReply> TasksService::run(const storage::Work& work,
                                             const std::optional<storage::Lease>& handoff) {
  auto read = read_request(work, options_.tags_max);
  if (read.has_error()) co_return failed(read.error());
  ChildRequest& request = read.value();
  auto& submission = request.submission;
  auto code = co_await processor_->newest_code(submission.task_name, request.version);
  if (code.has_error()) co_return failed(code.error());
  request.code = std::move(code).value();
  submission.task_function_id = request.code->id;
  submission.task_version = request.code->version;
  submission.seed = random_bytes(16);
  submission.handoff = handoff;
  if (request.detached) co_return co_await start_detached(work, request);
  co_return co_await run_child(work, request);
}

net::awaitable<InnerReply> TasksService::run_child(const storage::Work& work,
                                                   ChildRequest& request) {
  auto* const children = store_.children();
  if (children == nullptr) {
    co_return failed(Error(Errc::internal, "this store has no child tasks"));
  }
  storage::ChildStart start;
  start.call = work.grant;
  start.submission = request.submission;
  start.inherits_priority = !request.has_priority;
  start.depth_max = options_.depth_max;
  auto write = [children, &start](auto done) { children->start_child(start, std::move(done)); };
  const MonoTime give_up = clock_.monotonic() + options_.patience;
  auto started =
      co_await until_stored<storage::Submitted>(io_, clock_, give_up, std::move(write));
  if (started.has_error()) {
    if (started.error().code == Errc::fenced) co_return CallFenced{};
    co_return failed(started.error());
  }
  submitted(request, started.value());
  co_return CallWaits{};
}

net::awaitable<InnerReply> TasksService::start_detached(const storage::Work& work,
                                                        ChildRequest& request) {
  auto& submission = request.submission;
  const MonoTime give_up = clock_.monotonic() + options_.patience;
  if (submission.idempotency_key.empty()) {
    const auto key = co_await call_key(io_, store_, clock_, give_up, work.grant, work.seq);
    if (key.has_error()) {
      if (key.error().code == Errc::fenced) co_return CallFenced{};
      co_return failed(key.error());
    }
    submission.idempotency_key = std::string(kOwnKeys) + "start:" + key.value();
  }
  submission.request_hash = request_hash(submission, request.version);
  auto write = [this, &submission](auto done) { store_.submit(submission, std::move(done)); };
  auto started =
      co_await until_stored<storage::Submitted>(io_, clock_, give_up, std::move(write));
  if (started.has_error()) co_return failed(started.error());
  submitted(request, started.value());
  co_return services::CallReply::ok("{\"runId\":" + std::to_string(started.value().run.value) +
                                    "}");
}

void TasksService::submitted(const ChildRequest& request, storage::Submitted& run) {
  processor_->queues().tell(request.submission, run);
  if (run.work) {
    processor_->remember(run.run, session_of(request, run));
    processor_->adopt(std::move(*run.work));
  } else if (!run.existing) {
    processor_->arm_timer(run.root, request.submission.delay);
  }
}

}  // namespace sequential::server
