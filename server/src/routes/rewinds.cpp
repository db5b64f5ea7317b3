// GET /runs/{id}/replay; POST /runs/{id}/{retry|fork}, and resume on another version.

#include <deque>
#include <utility>

#include "async.h"
#include "routes/render.h"
#include "routes/rewind_bodies.h"
#include "routes/rewinds.h"
#include "routes/run_actions.h"
#include "sequential/base/json_text.h"
#include "sequential/storage/rewinds.h"
#include "work/dry_replay.h"
#include "work/retry_point.h"

namespace sequential::server {
namespace {

constexpr int kFailedMax = 32;   // of a run's failed outcomes, the newest are looked at
constexpr std::size_t kNextShown = 20;   // calls of GET …/replay
constexpr std::size_t kArgsShown = 2'048;
constexpr std::int64_t kVersionMax = 1'000'000'000;
constexpr std::int64_t kJournalPageBytes = 1 << 20;
// What a fork's code sees as its id while it is tried: the id that it will have is not known yet.
constexpr TaskRunId kAnyId{9'007'199'254'740'991};

struct Rewindable {
  storage::TaskRun head;
  storage::RunOrigin origin;
  std::shared_ptr<const engine::TaskCode> code;
  MonoTime give_up;  // for all replays of the request together
};

Error unavailable() { return {Errc::not_found, "this store cannot rewind runs"}; }

// version 0: the newest; -1: the run's own.
net::awaitable<Result<Rewindable>> read_run(RouteContext& context, TaskRunId id, int version) {
  storage::Rewinds* const rewinds = context.store.rewinds();
  if (rewinds == nullptr) co_return unavailable();
  Rewindable found;
  found.give_up = context.replays.give_up();
  // Before the run: what happens in between makes the change refused.
  auto read_origin = [rewinds, id](auto done) { rewinds->origin(id, std::move(done)); };
  auto origin = co_await completes<Result<storage::RunOrigin>>(std::move(read_origin));
  if (origin.has_error()) co_return std::move(origin).error();
  auto read = [&context, id](auto done) { context.store.journal_head(id, std::move(done)); };
  auto head = co_await completes<Result<storage::TaskRun>>(std::move(read));
  if (head.has_error()) co_return std::move(head).error();
  found.origin = origin.value();
  found.head = std::move(head).value();
  if (version < 0) version = found.head.task_version;
  auto code = co_await context.processor.newest_code(found.head.task_name, version);
  if (code.has_error()) co_return std::move(code).error();
  found.code = std::move(code).value();
  co_return found;
}

ReplayAsk ask_of(const Rewindable& run, std::int64_t through) {
  ReplayAsk ask;
  ask.head = run.head;
  ask.code = run.code;
  ask.through = through;
  ask.give_up = run.give_up;
  return ask;
}

storage::RewindTo point_of(const Rewindable& run, std::int64_t through, std::int64_t calls,
                           std::int64_t logs) {
  storage::RewindTo to;
  to.through = through;
  to.calls = calls;
  to.logs = logs;
  to.function = run.code->id;
  to.version = run.code->version;
  to.rewinds = run.origin.rewinds;
  return to;
}

Error divergent(const Rewindable& run, const Difference& difference, std::string_view why = {}) {
  Error error{Errc::divergent, "version " + std::to_string(run.code->version) +
                                   " does not repeat call " + std::to_string(difference.seq) +
                                   " of the run" + std::string(why)};
  error.detail =
      std::move(JsonObject().raw("difference", render_difference(difference))).text();
  return error;
}

Error wrong_state(const storage::TaskRun& run, std::string_view wanted) {
  return {Errc::conflict, "task run " + std::to_string(run.id.value) + " is " +
                              std::string(storage::run_status_name(run.status)) + ", not " +
                              std::string(wanted)};
}

void go_on(RouteContext& context, const std::string& task, const storage::Rewound& rewound) {
  context.processor.forget(rewound.run);  // what is warm here has another past
  for (const StackRunId id : rewound.runnable) context.chain.fire(id);
  if (!rewound.queued) return;
  const bool waits = rewound.runnable.empty() || rewound.runnable.front() != rewound.root;
  context.processor.queues().submitted(task, waits);
}

// --- retry ---------------------------------------------------------------------------------------

net::awaitable<Result<std::deque<FailedOutcome>>> failed_outcomes(RouteContext& context,
                                                                  TaskRunId run) {
  auto read = [&context, run](auto done) {
    context.store.rewinds()->failed_calls(run, kFailedMax, std::move(done));
  };
  auto found = co_await completes<Result<std::vector<storage::FailedCall>>>(std::move(read));
  if (found.has_error()) co_return std::move(found).error();
  std::deque<FailedOutcome> failed;
  for (const auto& call : found.value()) {
    std::string_view message = json_member(call.error, "message");
    if (message.size() >= 2) message = message.substr(1, message.size() - 2);
    failed.push_back({call.seq, call.position, std::string(message)});
  }
  co_return failed;
}

// Where the call's outcome is in the journal, 0: nowhere.
net::awaitable<Result<std::int64_t>> position_of(RouteContext& context, const storage::TaskRun& run,
                                                 std::int64_t call) {
  auto read = [&context, &run, call](auto done) {
    context.store.journal(run.id, call - 1, 1, std::move(done));
  };
  auto page = co_await completes<Result<storage::JournalPage>>(std::move(read));
  if (page.has_error()) co_return std::move(page).error();
  const auto& rows = page.value().rows;
  const bool found = !rows.empty() && rows.front().seq == call && rows.front().outcome;
  co_return found ? rows.front().outcome->delivered_as : 0;
}

Error same_again(const Rewindable& run) {
  return {Errc::conflict,
          "version " + std::to_string(run.code->version) +
              " would fail the same way: no failed call is what ended it. Publish a version "
              "that does not and retry with it, or name a call to go back to"};
}

struct RetryPoint {
  storage::RewindTo to;
  std::vector<std::int64_t> dropped;
};

RetryPoint point_of(const Rewindable& run, std::int64_t through, Replayed replayed) {
  return {point_of(run, through, std::min(replayed.calls, run.head.call_count), replayed.logs),
          std::move(replayed.dropped)};
}

// The code ended by itself at the journal's end: it may go on only if it would not do so again.
net::awaitable<Result<RetryPoint>> keep_everything(RouteContext& context,
                                                   const Rewindable& run) {
  const storage::TaskRun& head = run.head;
  const bool other_code = run.code->version != head.task_version;
  const bool by_limit = !other_code && ended_by_limit(head.error);
  ReplayAsk ask = ask_of(run, head.journal_length);
  ask.count_logs = true;
  auto replayed = co_await context.replays.replay(std::move(ask));
  if (replayed.has_error()) {
    if (!by_limit || replayed.error().code != Errc::engine_lost) {
      co_return std::move(replayed).error();
    }
    const storage::RewindTo whole =
        point_of(run, head.journal_length, head.call_count, head.log_count);
    co_return RetryPoint{whole, {}};
  }
  Replayed& result = replayed.value();
  if (result.difference) co_return divergent(run, *result.difference);
  const bool fails = result.status == engine::SliceStatus::failed;
  if (fails && !by_limit && head.status == storage::RunStatus::failed) co_return same_again(run);
  co_return point_of(run, head.journal_length, std::move(result));
}

net::awaitable<Result<RetryPoint>> retry_point(RouteContext& context, const Rewindable& run,
                                               std::int64_t call) {
  std::int64_t asked_to_end = 0;
  if (run.head.status == storage::RunStatus::cancelled && call == 0) {
    const auto position = co_await position_of(context, run.head, 0);
    if (position.has_error()) co_return position.error();
    asked_to_end = position.value();
    if (asked_to_end == 0) co_return co_await keep_everything(context, run);
  }
  auto failed = co_await failed_outcomes(context, run.head.id);
  if (failed.has_error()) co_return std::move(failed).error();
  const std::int64_t whole = run.head.journal_length;
  std::vector<std::int64_t> points = retry_points(failed.value(), run.head.error, whole,
                                                  run.code->version != run.head.task_version);
  if (call > 0) {
    const auto position = co_await position_of(context, run.head, call);
    if (position.has_error()) co_return position.error();
    if (position.value() == 0) {
      co_return field_error("call", "must be one that the run has seen the outcome of");
    }
    points = {position.value() - 1};
  }
  if (asked_to_end > 0) points = {asked_to_end - 1};  // as if nobody had
  Error refusal = same_again(run);
  for (const std::int64_t through : points) {
    if (through == whole) {
      auto kept = co_await keep_everything(context, run);
      if (kept.has_value()) co_return kept;
      const Errc code = kept.error().code;
      if (code != Errc::conflict && code != Errc::divergent) co_return kept;
      refusal = std::move(kept).error();
      continue;
    }
    ReplayAsk ask = ask_of(run, through);
    ask.count_logs = true;
    auto replayed = co_await context.replays.replay(std::move(ask));
    if (replayed.has_error()) co_return std::move(replayed).error();
    Replayed& result = replayed.value();
    if (result.difference) co_return divergent(run, *result.difference);
    if (result.ended()) continue;  // its end was decided before that
    co_return point_of(run, through, std::move(result));
  }
  co_return refusal;
}

// --- fork ----------------------------------------------------------------------------------------

struct Place {
  std::int64_t through = 0;
  std::int64_t seq = 0;  // the call that has its outcome there
};

// A call stands for the position before its outcome: it is made again. One without an outcome, for
// all there is.
net::awaitable<Result<Place>> place_of(RouteContext& context, const Rewindable& run,
                                       const ForkAsk& ask) {
  const std::int64_t whole = run.head.journal_length;
  Place place{whole, ask.call};
  if (ask.call > 0) {
    if (ask.call > run.head.call_count) {
      co_return field_error("at", "is a call that the run has not made");
    }
    const auto position = co_await position_of(context, run.head, ask.call);
    if (position.has_error()) co_return position.error();
    if (position.value() > 0) place.through = position.value() - 1;
  } else if (ask.position >= 0) {
    if (ask.position > whole) {
      co_return field_error("at", "is beyond the journal, which ends at " + std::to_string(whole));
    }
    place.through = ask.position;
    if (ask.has_outcome) {
      auto read = [&context, &run, after = ask.position - 1](auto done) {
        context.store.outcomes(run.head.id, after, 1, std::move(done));
      };
      auto found = co_await completes<Result<std::vector<storage::Outcome>>>(std::move(read));
      if (found.has_error()) co_return std::move(found).error();
      if (found.value().empty()) co_return field_error("at", "has no outcome");
      place = {ask.position - 1, found.value().front().seq};
    }
  }
  co_return place;
}

// Calls that the fork makes anew wait as long as the service says, from its beginning.
net::awaitable<Result<void>> find_delays(RouteContext& context, storage::Fork& fork) {
  std::int64_t after = 0;
  for (bool more = fork.to.calls > 0; more;) {
    auto read = [&context, &fork, after](auto done) {
      context.store.journal(fork.source, after, kJournalPageBytes, std::move(done));
    };
    auto page = co_await completes<Result<storage::JournalPage>>(std::move(read));
    if (page.has_error()) co_return std::move(page).error();
    more = page.value().more;
    for (const auto& row : page.value().rows) {
      after = row.seq;
      if (row.seq > fork.to.calls) co_return success();
      if (row.outcome && row.outcome->delivered_as <= fork.to.through) continue;
      const services::Service* service = context.registry.find(row.service_name);
      if (service == nullptr) continue;
      const auto delay = service->delay(row.method_name, row.args);
      if (delay.has_value() && delay.value().count() > 0) {
        fork.delays.emplace_back(row.seq, delay.value());
      }
    }
  }
  co_return success();
}

net::awaitable<Result<storage::Rewound>> make_fork(RouteContext& context, TaskRunId id,
                                                   ForkAsk ask) {
  const auto run = co_await read_run(context, id, ask.version);
  if (run.has_error()) co_return run.error();
  const Rewindable& source = run.value();
  const auto place = co_await place_of(context, source, ask);
  if (place.has_error()) co_return place.error();
  ReplayAsk replay = ask_of(source, place.value().through);
  replay.input = ask.input;
  replay.shown_as = kAnyId;
  replay.count_logs = true;
  auto replayed = co_await context.replays.replay(std::move(replay));
  if (replayed.has_error()) co_return std::move(replayed).error();
  Replayed& result = replayed.value();
  if (result.difference) {
    co_return divergent(source, *result.difference,
                        " up to that point, with the fork's input and id (task.id)");
  }
  storage::Fork& fork = ask.fork;
  fork.source = id;
  fork.to = point_of(source, place.value().through,
                     std::min(result.calls, source.head.call_count), result.logs);
  fork.dropped = std::move(result.dropped);
  fork.input = std::move(ask.input);
  fork.calls_max = context.options.fork_calls_max;
  if (fork.to.calls > fork.calls_max) {
    co_return Error{Errc::payload_too_large,
                    "the fork would begin with more calls than server.fork_calls_max (" +
                        std::to_string(fork.calls_max) + ")"};
  }
  if (ask.has_outcome) {
    ask.outcome.seq = place.value().seq;
    fork.outcome = std::move(ask.outcome);
  }
  const auto delays = co_await find_delays(context, fork);
  if (delays.has_error()) co_return delays.error();
  auto write = [&context, &fork](auto done) {
    context.store.rewinds()->fork_run(std::move(fork), std::move(done));
  };
  auto made = co_await completes<Result<storage::Rewound>>(std::move(write));
  if (made.has_value()) go_on(context, source.head.task_name, made.value());
  co_return made;
}

std::string render_next(const std::vector<engine::IssuedCall>& calls) {
  std::vector<std::string> items;
  for (const auto& call : calls) {
    if (items.size() == kNextShown) break;
    items.push_back(std::move(JsonObject()
                                  .number("seq", call.seq)
                                  .string("service", call.service)
                                  .string("method", call.method)
                                  .string("args", clip_utf8(call.args, kArgsShown)))
                        .text());
  }
  return json_array(items);
}

std::string_view name_of(engine::SliceStatus status) {
  switch (status) {
    case engine::SliceStatus::suspended: return "suspended";
    case engine::SliceStatus::completed: return "completed";
    case engine::SliceStatus::failed: return "failed";
    case engine::SliceStatus::cancelled: return "cancelled";
    case engine::SliceStatus::divergent: break;
  }
  return "divergent";
}

}  // namespace

net::awaitable<Result<void>> resume_run_on(RouteContext& context, TaskRunId id, int version) {
  auto read = co_await read_run(context, id, version);
  if (read.has_error()) co_return std::move(read).error();
  const Rewindable& run = read.value();
  if (run.head.status != storage::RunStatus::paused) co_return wrong_state(run.head, "paused");
  if (run.head.call_count > 0) {
    ReplayAsk ask = ask_of(run, run.head.journal_length);
    auto replayed = co_await context.replays.replay(std::move(ask));
    if (replayed.has_error()) co_return std::move(replayed).error();
    if (replayed.value().difference) co_return divergent(run, *replayed.value().difference);
  }
  const storage::RewindTo to = point_of(run, 0, 0, 0);
  auto write = [&context, id, to](auto done) {
    context.store.rewinds()->resume_on(id, to, std::move(done));
  };
  auto resumed = co_await completes<Result<storage::Rewound>>(std::move(write));
  if (resumed.has_error()) co_return std::move(resumed).error();
  go_on(context, run.head.task_name, resumed.value());
  co_return success();
}

net::awaitable<Result<void>> retry_run(RouteContext& context, TaskRunId id, RetryAsk ask) {
  auto read = co_await read_run(context, id, ask.version > 0 ? ask.version : -1);
  if (read.has_error()) co_return std::move(read).error();
  const Rewindable& run = read.value();
  if (run.head.status != storage::RunStatus::failed &&
      run.head.status != storage::RunStatus::cancelled) {
    co_return wrong_state(run.head, "failed or cancelled");
  }
  auto point = co_await retry_point(context, run, ask.call);
  if (point.has_error()) co_return std::move(point).error();
  storage::Retry retry;
  retry.run = id;
  retry.to = point.value().to;
  retry.dropped = std::move(point.value().dropped);
  retry.grace = context.options.cancel_grace;
  retry.call = ask.call;
  retry.unknown_again = ask.unknown_again;
  auto write = [&context, &retry](auto done) {
    context.store.rewinds()->retry_run(retry, std::move(done));
  };
  auto retried = co_await completes<Result<storage::Rewound>>(std::move(write));
  if (retried.has_error()) {
    Error error = std::move(retried).error();
    if (error.code == Errc::outcome_unknown) {
      error.code = Errc::conflict;  // of the request, not of a service
      error.message += "; retry with \"unknown_again\": true to make it again all the same";
    }
    co_return error;
  }
  go_on(context, run.head.task_name, retried.value());
  context.processor.cancel_orphans();  // children that it has let go
  co_return success();
}

Answer route_replay(RouteContext& context, const HttpRequest& request, TaskRunId id) {
  const auto version = query_int(request, "version", 0, 1, kVersionMax);
  if (version.has_error()) co_return problem(version.error());
  const auto run = co_await read_run(context, id, static_cast<int>(version.value()));
  if (run.has_error()) co_return problem(run.error());
  const storage::TaskRun& head = run.value().head;
  ReplayAsk ask = ask_of(run.value(), head.journal_length);
  auto replayed = co_await context.replays.replay(std::move(ask));
  if (replayed.has_error()) co_return problem(replayed.error());
  const Replayed& result = replayed.value();
  JsonObject body;
  body.number("id", id.value)
      .string("task", head.task_name)
      .number("run_version", head.task_version)
      .number("version", run.value().code->version)
      .boolean("same", !result.difference.has_value());
  if (result.difference) {
    body.raw("difference", render_difference(*result.difference));
  } else {
    body.null("difference").string("ends", name_of(result.status));
    if (result.ended()) {
      body.raw(result.status == engine::SliceStatus::failed ? "error" : "result", result.payload);
    }
    body.raw("next", render_next(result.next));
  }
  body.number("outcomes", head.journal_length)
      .number("calls", head.call_count)
      .number("took_ms", result.took_ms);
  co_return json_response(200, std::move(body).text());
}

Answer route_resume_on(RouteContext& context, const HttpRequest& request, TaskRunId id) {
  const auto version = read_resume(request.body);
  if (version.has_error()) co_return problem(version.error());
  Result<void> resumed = success();
  if (version.value() > 0) {
    resumed = co_await resume_run_on(context, id, version.value());
  } else {
    resumed = co_await resume_run(context, id);
  }
  if (resumed.has_error()) co_return problem(resumed.error());
  co_return co_await show_run(context, id, 200);
}

Answer route_retry(RouteContext& context, const HttpRequest& request, TaskRunId id) {
  const auto ask = read_retry(request.body);
  if (ask.has_error()) co_return problem(ask.error());
  const auto retried = co_await retry_run(context, id, ask.value());
  if (retried.has_error()) co_return problem(retried.error());
  co_return co_await show_run(context, id, 200);
}

Answer route_fork(RouteContext& context, const HttpRequest& request, TaskRunId id) {
  auto ask = read_fork(request, context.options.payload_bytes_max, context.options.tags_max);
  if (ask.has_error()) co_return problem(ask.error());
  const auto made = co_await make_fork(context, id, std::move(ask).value());
  if (made.has_error()) co_return problem(made.error());
  const int status = made.value().existing ? 200 : 201;
  co_return co_await show_run(context, made.value().run, status);
}

}  // namespace sequential::server
