// Signals and webhooks: what runs are told from outside.

#include "sequential/storage/signals.h"

#include <string>
#include <utility>
#include <vector>

#include "postgres/store_templates.h"
#include "postgres/transitions.h"

namespace sequential::storage::postgres {
namespace {

void add_lease(Params& params, const std::optional<Lease>& lease) {
  params.add(lease ? std::string_view(lease->node) : std::string_view());
  params.add(static_cast<std::int64_t>(lease ? lease->length.count() : 0));
}

// Columns `from` on, as in the type wake_answer.
std::optional<Wake> wake_of(const Rows& rows, int from, TaskRunId run) {
  if (!rows.boolean(0, from)) return std::nullopt;
  Wake wake;
  wake.run = run;
  wake.root = rows.id<StackRunId>(0, from + 1);
  if (!rows.null(0, from + 2)) wake.work = slice_work(rows, from + 2, wake.run, wake.root);
  return wake;
}

Answered<SignalTaken> take_signal(const Try& attempt, const SignalTake& take) {
  Params params = attempt.head();
  params.add(take.call.id.value).add(take.call.run.value).add(take.call.epoch).add(take.name);
  params.add(static_cast<std::int64_t>(take.timeout ? take.timeout->count() : -1));
  params.add(take.until ? take.until->ms : std::int64_t{-1});
  params.add(take.timeout_error).add(take.over_error);
  add_lease(params, take.handoff);
  SEQUENTIAL_ROWS(rows, attempt.run(attempt.context.sql.take_signal, params));
  if (auto error = told(rows)) return Result<SignalTaken>(*std::move(error));
  enum : int { kState = 2, kPayload, kDeliveredAs, kAt, kDueIn, kWoken };
  SignalTaken taken;
  auto wake = wake_of(rows, kWoken, take.call.run);
  if (rows.text(0, kState) == "waits") {
    attempt.acknowledged(
        {Witness::Kind::claim, take.call.id.value, take.call.epoch, 0, take.call.run.value});
    if (!rows.null(0, kDueIn)) taken.due_in = Millis{rows.integer(0, kDueIn)};
    taken.wake = std::move(wake);
    return Result<SignalTaken>(std::move(taken));
  }
  attempt.acknowledged(
      {Witness::Kind::end, take.call.id.value, 0, attempt.token, take.call.run.value});
  taken.failed = rows.text(0, kState) == "failed";
  taken.payload = rows.bytes(0, kPayload);
  OutcomeRecorded& recorded = taken.recorded.emplace();
  recorded.delivered_as = rows.integer(0, kDeliveredAs);
  recorded.at = rows.time(0, kAt);
  recorded.wake = std::move(wake);
  return Result<SignalTaken>(std::move(taken));
}

// Of the type signal_answer.
Answered<SignalSent> sent_of(const Try& attempt, const Rows& rows) {
  if (auto error = told(rows)) return Result<SignalSent>(*std::move(error));
  enum : int { kDelivered = 2, kExisting, kRun, kCall, kWoken };
  SignalSent sent;
  sent.delivered = rows.boolean(0, kDelivered);
  sent.existing = rows.boolean(0, kExisting);
  if (!rows.null(0, kCall)) {
    attempt.acknowledged({Witness::Kind::end, rows.integer(0, kCall), 0, attempt.token,
                          rows.integer(0, kRun)});
  } else if (!sent.existing) {
    attempt.context.history.acknowledged();
  }
  sent.wake = wake_of(rows, kWoken, rows.id<TaskRunId>(0, kRun));
  return Result<SignalSent>(std::move(sent));
}

Answered<SignalSent> send_signal(const Try& attempt, const SignalSend& send) {
  Params params = attempt.head();
  params.add(send.run.value).add(send.name).add(send.payload).add(send.key);
  params.add(send.request_hash).add(send.kept_max);
  add_lease(params, send.handoff);
  SEQUENTIAL_ROWS(rows, attempt.run(attempt.context.sql.send_signal, params));
  return sent_of(attempt, rows);
}

Answered<std::vector<KeptSignal>> kept_signals(const Try& attempt, TaskRunId run,
                                               std::int64_t after, int limit) {
  Params params;
  params.add(run.value).add(after).add(static_cast<std::int64_t>(limit));
  SEQUENTIAL_ROWS(rows, attempt.run(attempt.context.sql.kept_signals, params));
  if (rows.size() == 0) {
    return Result<std::vector<KeptSignal>>(
        Error(Errc::run_not_found, "there is no task run " + std::to_string(run.value)));
  }
  std::vector<KeptSignal> found;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows.null(i, 0)) continue;  // the run without any
    found.push_back({rows.integer(i, 0), rows.bytes(i, 1), rows.bytes(i, 2), rows.time(i, 3)});
  }
  return Result<std::vector<KeptSignal>>(std::move(found));
}

Answered<OutcomeRecorded> new_webhook(const Try& attempt, const WebhookNew& webhook) {
  Params params = attempt.head();
  params.add(webhook.call.id.value).add(webhook.call.run.value).add(webhook.call.epoch);
  params.add(webhook.key).add(webhook.name);
  params.add(static_cast<std::int64_t>(webhook.expires.count()));
  params.add(webhook.rules).add(webhook.outcome);
  add_lease(params, webhook.handoff);
  SEQUENTIAL_ROWS(rows, attempt.run(attempt.context.sql.create_webhook, params));
  if (auto error = told(rows)) return Result<OutcomeRecorded>(*std::move(error));
  attempt.acknowledged(
      {Witness::Kind::end, webhook.call.id.value, 0, attempt.token, webhook.call.run.value});
  // Of the type outcome_answer
  enum : int { kDeliveredAs = 2, kAt, kRoot = 6, kWoken, kEpoch };
  OutcomeRecorded recorded;
  recorded.delivered_as = rows.integer(0, kDeliveredAs);
  recorded.at = rows.time(0, kAt);
  if (rows.boolean(0, kWoken)) {
    Wake& wake = recorded.wake.emplace();
    wake.run = webhook.call.run;
    wake.root = rows.id<StackRunId>(0, kRoot);
    if (!rows.null(0, kEpoch)) wake.work = slice_work(rows, kEpoch, wake.run, wake.root);
  }
  return Result<OutcomeRecorded>(std::move(recorded));
}

Answered<Webhook> find_webhook(const Try& attempt, const std::string& key) {
  Params params;
  params.add(key).add(attempt.context.now());
  SEQUENTIAL_ROWS(rows, attempt.run(attempt.context.sql.webhook, params));
  if (rows.size() == 0) {
    return Result<Webhook>(Error(Errc::not_found, "there is no such webhook"));
  }
  Webhook webhook;
  webhook.run = rows.id<TaskRunId>(0, 0);
  webhook.rules = rows.bytes(0, 1);
  const bool over = !rows.null(0, 4) || rows.null(0, 5);
  webhook.gone = !rows.null(0, 2) || rows.boolean(0, 3) || over;
  return Result<Webhook>(std::move(webhook));
}

Answered<SignalSent> answer_for_webhook(const Try& attempt, const WebhookAnswer& answer) {
  Params params = attempt.head();
  params.add(answer.key).add(answer.payload);
  add_lease(params, answer.handoff);
  SEQUENTIAL_ROWS(rows, attempt.run(attempt.context.sql.answer_webhook, params));
  return sent_of(attempt, rows);
}

}  // namespace

void PostgresStore::take(SignalTake take, Done<SignalTaken> done) {
  How how;
  how.key = key_of(take.call.run);
  how.before = "signal.before_wait";
  auto apply = [take = std::move(take)](const Try& attempt) { return take_signal(attempt, take); };
  auto touch = [this](auto&, SignalTaken& taken) {
    FAULT_POINT("signal.after_wait");
    if (taken.wake) tell(*taken.wake);
    if (taken.recorded && taken.recorded->wake) tell(*taken.recorded->wake);
  };
  write<SignalTaken>(std::move(done), how, std::move(apply), std::move(touch));
}

void PostgresStore::send(SignalSend send, Done<SignalSent> done) {
  How how;
  how.key = key_of(send.run);
  how.before = "signal.before_commit";
  auto apply = [send = std::move(send)](const Try& attempt) { return send_signal(attempt, send); };
  auto touch = [this](auto&, SignalSent& sent) {
    FAULT_POINT("signal.after_commit");
    if (sent.wake) tell(*sent.wake);
  };
  write<SignalSent>(std::move(done), how, std::move(apply), std::move(touch));
}

void PostgresStore::kept(TaskRunId run, std::int64_t after, int limit,
                         Done<std::vector<KeptSignal>> done) {
  How how;
  how.pool = &readers_;
  auto apply = [run, after, limit](const Try& attempt) {
    return kept_signals(attempt, run, after, limit);
  };
  write<std::vector<KeptSignal>>(std::move(done), how, std::move(apply), kNoTouch);
}

void PostgresStore::create_webhook(WebhookNew webhook, Done<OutcomeRecorded> done) {
  How how;
  how.key = key_of(webhook.call.run);
  how.before = "call.before_record";
  auto apply = [webhook = std::move(webhook)](const Try& attempt) {
    return new_webhook(attempt, webhook);
  };
  auto touch = [this](auto&, OutcomeRecorded& recorded) {
    FAULT_POINT("call.after_record");
    if (recorded.wake) tell(*recorded.wake);
  };
  write<OutcomeRecorded>(std::move(done), how, std::move(apply), std::move(touch));
}

void PostgresStore::webhook(std::string key, Done<Webhook> done) {
  How how;
  how.pool = &readers_;
  auto apply = [key = std::move(key)](const Try& attempt) { return find_webhook(attempt, key); };
  write<Webhook>(std::move(done), how, std::move(apply), kNoTouch);
}

void PostgresStore::answer_webhook(WebhookAnswer answer, Done<SignalSent> done) {
  How how;
  how.before = "signal.before_commit";
  auto apply = [answer = std::move(answer)](const Try& attempt) {
    return answer_for_webhook(attempt, answer);
  };
  auto touch = [this](auto&, SignalSent& sent) {
    FAULT_POINT("signal.after_commit");
    if (sent.wake) tell(*sent.wake);
  };
  write<SignalSent>(std::move(done), how, std::move(apply), std::move(touch));
}

}  // namespace sequential::storage::postgres
