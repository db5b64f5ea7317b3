// Signals and webhooks: what runs are told from outside.

#include "sqlite/signals.h"

#include <algorithm>
#include <vector>

#include "sqlite/queries.h"
#include "sqlite/store_templates.h"

namespace sequential::storage::sqlite {
namespace {

// A call without a timeout waits until then: the year 2200, which every clock can still tell.
constexpr WallTime kNever{7'258'118'400'000};
// A call that has to let an earlier one go first looks again after so long, should nobody wake it.
constexpr Millis kLookAgain{1'000};

bool has_row(Cursor row) { return row.next(); }

struct CallRow {
  TaskRunId run;
  std::int64_t seq = 0, epoch = 0, attempt = 0, open_seq = 1;
  StackStatus status = StackStatus::pending;
  WallTime created_at;
  RunStatus run_status = RunStatus::running;
};

std::optional<CallRow> read_held_call(Transaction& tx, const Grant& grant) {
  Cursor row = tx.sql.signals.call.query(grant.id.value);
  if (!row.next()) return std::nullopt;
  CallRow call;
  call.run = row.id<TaskRunId>(0);
  call.seq = row.integer(1);
  call.status = stack_status_of(tx, row.view(2));
  call.epoch = row.integer(3);
  call.attempt = row.integer(4);
  call.created_at = row.time(5);
  call.run_status = run_status_of(tx, row.view(6));
  call.open_seq = row.integer(7);
  if (call.status != StackStatus::processing || call.epoch != grant.epoch ||
      call.run != grant.run) {
    return std::nullopt;
  }
  return call;
}

// A name of a run whose waiting calls are to get the signals kept.
struct Counter {
  TaskRunId run;
  const std::string& name;
  std::int64_t open_seq = 1;
  const std::optional<Lease>& handoff;
  // The call that is at it under its own claim, if one is.
  const Grant* own = nullptr;
  std::int64_t own_seq = 0;
};
struct Served {
  std::optional<OutcomeRecorded> own;
  std::string own_payload;
  bool own_is_blocked = false;
  int calls = 0;
  std::optional<Wake> wake;
};

// Gives the oldest signals to the oldest calls, for as long as there are both.
Result<Served> serve(Transaction& tx, const Counter& at) {
  Served served;
  SignalStatements& sql = tx.sql.signals;
  const std::string begins = "[\"" + at.name + "\"";
  // A webhook has one answer, for every call that waits for it; a signal is for one.
  const bool hook = at.name.starts_with("webhook:");
  while (!tx.failed()) {
    std::int64_t signal = 0, seq = 0;
    StackRunId call;
    std::string payload;
    {
      Cursor oldest = (hook ? sql.webhook_answer : sql.oldest).query(at.run, at.name);
      Cursor wait = sql.first_wait.query(at.run, at.name);
      if (!oldest.next() || !wait.next()) break;
      signal = oldest.integer(0);
      payload = oldest.text(1);
      seq = wait.integer(0);
      call = wait.id<StackRunId>(1);
    }
    const bool own = at.own != nullptr && seq == at.own_seq;
    if (!hook && has_row(sql.earlier_wait.query(at.run, at.open_seq, seq, begins, at.name))) {
      served.own_is_blocked = own;
      if (!own) sql.sooner.run(call, tx.clock.now() + kLookAgain);
      break;
    }
    if (!hook) tx.must(sql.taken.run(signal, seq) == 1);
    sql.delete_wait.run(at.run, at.name, seq);
    std::optional<Wake> wake;
    if (own) {
      OutcomeRecord record;
      record.call = *at.own;
      record.payload = payload;
      record.handoff = at.handoff;
      SEQUENTIAL_TRY(served.own, record_outcome(tx, record));
      served.own_payload = std::move(payload);
      wake = std::move(served.own->wake);
      served.own->wake.reset();
    } else {
      wake = settle_parent(tx, call, false, payload, at.handoff);
    }
    if (wake) served.wake = std::move(wake);
    ++served.calls;
  }
  return served;
}

Result<SignalTaken> fail_call(Transaction& tx, const SignalTake& take, const std::string& error) {
  OutcomeRecord record;
  record.call = take.call;
  record.end = CallEnd::failed;
  record.payload = error;
  record.handoff = take.handoff;
  SignalTaken taken;
  SEQUENTIAL_TRY(taken.recorded, record_outcome(tx, record));
  taken.failed = true;
  taken.payload = error;
  return taken;
}

WallTime deadline_of(const SignalTake& take, WallTime created_at) {
  WallTime deadline = kNever;
  if (take.timeout) deadline = std::min(deadline, created_at + *take.timeout);
  if (take.until) deadline = std::min(deadline, *take.until);
  return deadline;
}

// Stores the signal and gives what can be given.
Result<SignalSent> store_signal(Transaction& tx, const SignalSend& send, std::int64_t open_seq) {
  SignalStatements& sql = tx.sql.signals;
  sql.insert.run(send.run, tx.clock.now(), send.name, TextOrNull{send.key},
                 TextOrNull{send.request_hash}, send.payload);
  const std::int64_t id = sqlite3_last_insert_rowid(tx.sql.db.handle());
  SEQUENTIAL_TRY(auto served, serve(tx, {send.run, send.name, open_seq, send.handoff}));
  SignalSent sent;
  sent.wake = std::move(served.wake);
  sent.delivered = has_row(sql.is_taken.query(id));
  tx.faults = {"signal.before_commit", {"signal.after_commit"}};
  return sent;
}

Error over(TaskRunId run, std::string_view status) {
  return {Errc::conflict, "task run " + std::to_string(run.value) + " is " + std::string(status) +
                              ": it takes no more signals"};
}

}  // namespace

Result<SignalTaken> take_signal(Transaction& tx, const SignalTake& take) {
  const auto call = read_held_call(tx, take.call);
  if (!call) return Error(Errc::fenced, "the call is not held under this claim");
  if (is_terminal(call->run_status)) return fail_call(tx, take, take.over_error);
  SignalStatements& sql = tx.sql.signals;
  sql.insert_wait.run(call->run, take.name, call->seq, take.call.id);
  const Counter counter{call->run, take.name, call->open_seq, take.handoff, &take.call, call->seq};
  SEQUENTIAL_TRY(auto served, serve(tx, counter));
  SignalTaken taken;
  if (served.own) {
    taken.recorded = std::move(served.own);
    taken.recorded->wake = std::move(served.wake);
    taken.payload = std::move(served.own_payload);
    return taken;
  }
  const WallTime now = tx.clock.now();
  const WallTime deadline = deadline_of(take, call->created_at);
  if (deadline <= now) {
    sql.delete_wait.run(call->run, take.name, call->seq);
    SEQUENTIAL_TRY(taken, fail_call(tx, take, take.timeout_error));
    // Calls behind this one may have waited for it to go.
    SEQUENTIAL_TRY(auto others, serve(tx, {call->run, take.name, call->open_seq, take.handoff}));
    if (served.wake) taken.recorded->wake = std::move(served.wake);
    if (others.wake) taken.recorded->wake = std::move(others.wake);
    return taken;
  }
  const bool paused = call->run_status == RunStatus::paused;
  const WallTime due = served.own_is_blocked ? std::min(deadline, now + kLookAgain) : deadline;
  tx.must(sql.park.run(take.call.id, call->epoch,
                       stack_status_name(paused ? StackStatus::paused : StackStatus::pending),
                       call->attempt - 1, due, now) == 1);
  tx.leases.drop(take.call.id);
  if (due < kNever) taken.due_in = Millis{due.ms - now.ms};
  taken.wake = std::move(served.wake);
  tx.faults = {"signal.before_wait", {"signal.after_wait"}};
  return taken;
}

Result<SignalSent> send_signal(Transaction& tx, const SignalSend& send) {
  SignalStatements& sql = tx.sql.signals;
  if (!send.key.empty()) {
    Cursor known = sql.by_key.query(send.run, send.key);
    if (known.next()) {
      if (known.view(1) != send.request_hash) {
        return Error(Errc::idempotency_conflict,
                     "this idempotency key belongs to another signal of the run");
      }
      SignalSent sent;
      sent.existing = true;
      sent.delivered = !known.null(0);
      return sent;
    }
  }
  std::int64_t open_seq = 1;
  {
    Cursor run = sql.run.query(send.run);
    if (!run.next()) {
      return Error(Errc::run_not_found, "there is no task run " + std::to_string(send.run.value));
    }
    if (is_terminal(run_status_of(tx, run.view(0)))) return over(send.run, run.view(0));
    open_seq = run.integer(1);
  }
  if (!has_row(sql.first_wait.query(send.run, send.name)) &&
      has_row(sql.more_kept.query(send.run, send.kept_max - 1))) {
    return Error(Errc::signals_limit, "task run " + std::to_string(send.run.value) + " keeps " +
                                          std::to_string(send.kept_max) +
                                          " signals that it has not taken (limits.signals_kept)");
  }
  return store_signal(tx, send, open_seq);
}

Result<OutcomeRecorded> create_webhook(Transaction& tx, const WebhookNew& webhook) {
  OutcomeRecord record;
  record.call = webhook.call;
  record.payload = webhook.outcome;
  record.handoff = webhook.handoff;
  SEQUENTIAL_TRY(auto recorded, record_outcome(tx, record));
  tx.sql.signals.insert_webhook.run(webhook.key, webhook.call.run, recorded.at + webhook.expires,
                                    webhook.name, webhook.rules);
  return recorded;
}

Result<SignalSent> answer_webhook(Transaction& tx, const WebhookAnswer& answer) {
  SignalStatements& sql = tx.sql.signals;
  const WallTime now = tx.clock.now();
  struct Open {
    TaskRunId run;
    std::string name, key;
  };
  std::vector<Open> open;
  bool known = false;
  {
    Cursor row = sql.webhook.query(answer.key);
    while (row.next()) {
      known = true;
      const bool over = row.null(4) || is_terminal(run_status_of(tx, row.view(4)));
      if (!row.null(2) || row.time(1) <= now || over) continue;
      open.push_back({row.id<TaskRunId>(0), row.text(3), row.text(5)});
    }
  }
  if (!known) return Error(Errc::not_found, "there is no such webhook");
  if (open.empty()) return Error(Errc::webhook_gone, "this address cannot be used any more");
  SignalSent sent;
  for (const Open& hook : open) {
    tx.must(sql.webhook_used.run(hook.key, now, answer.payload) == 1);
    // Of several runs the first is handed over, the sweep finds the others.
    const auto handoff = &hook == open.data() ? answer.handoff : std::nullopt;
    SEQUENTIAL_TRY(auto served, serve(tx, {hook.run, hook.name, 1, handoff}));
    sent.delivered = sent.delivered || served.calls > 0;
    if (&hook == open.data()) sent.wake = std::move(served.wake);
  }
  tx.faults = {"signal.before_commit", {"signal.after_commit"}};
  return sent;
}

void signals_run_over(Transaction& tx, TaskRunId run, WallTime at) {
  tx.sql.signals.let_go.run(run, at);
  tx.sql.signals.delete_waits.run(run);
}

// --- the store's methods -------------------------------------------------------------------------

void SqliteStore::take(SignalTake take, Done<SignalTaken> done) {
  write(std::move(done),
        [take = std::move(take)](Transaction& tx) { return take_signal(tx, take); });
}

void SqliteStore::send(SignalSend send, Done<SignalSent> done) {
  write(std::move(done),
        [send = std::move(send)](Transaction& tx) { return send_signal(tx, send); });
}

void SqliteStore::kept(TaskRunId run, std::int64_t after, int limit,
                       Done<std::vector<KeptSignal>> done) {
  read(std::move(done),
       [run, after, limit](Queries& q) { return q.kept_signals(run, after, limit); });
}

void SqliteStore::create_webhook(WebhookNew webhook, Done<OutcomeRecorded> done) {
  write(std::move(done), [webhook = std::move(webhook)](Transaction& tx) {
    return sqlite::create_webhook(tx, webhook);
  });
}

void SqliteStore::webhook(std::string key, Done<Webhook> done) {
  read(std::move(done),
       [this, key = std::move(key)](Queries& q) { return q.webhook(key, clock_.now()); });
}

void SqliteStore::answer_webhook(WebhookAnswer answer, Done<SignalSent> done) {
  write(std::move(done), [answer = std::move(answer)](Transaction& tx) {
    return sqlite::answer_webhook(tx, answer);
  });
}

// --- reading -------------------------------------------------------------------------------------

Result<std::vector<KeptSignal>> Queries::kept_signals(TaskRunId run, std::int64_t after,
                                                      int limit) {
  std::vector<KeptSignal> found;
  bool exists = false;
  {
    Cursor row = run_exists_.query(run);
    exists = row.next();
  }
  {
    Cursor row = kept_signals_.query(run, after, limit);
    while (row.next()) found.push_back({row.integer(0), row.text(1), row.text(2), row.time(3)});
  }
  if (db_.failed()) return forgiven();
  if (!exists) {
    return Error(Errc::run_not_found, "there is no task run " + std::to_string(run.value));
  }
  return found;
}

Result<Webhook> Queries::webhook(const std::string& key, WallTime now) {
  std::optional<Webhook> found;
  {
    Cursor row = webhook_.query(key);
    // One that can still be answered, if any can.
    while ((!found || found->gone) && row.next()) {
      found.emplace();
      found->run = row.id<TaskRunId>(0);
      found->rules = row.text(3);
      const auto status = run_status_from(row.view(4));
      found->gone = !row.null(2) || row.time(1) <= now || !status || is_terminal(*status);
    }
  }
  if (db_.failed()) return forgiven();
  if (!found) return Error(Errc::not_found, "there is no such webhook");
  return *std::move(found);
}

}  // namespace sequential::storage::sqlite
