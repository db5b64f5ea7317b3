#include "work/dry_replay.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "async.h"
#include "sequential/base/json_text.h"
#include "work/journal_source.h"

namespace sequential::server {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kArgsShownMax = 2'048;  // as the engine shows them

Error too_late() {
  return Error{Errc::timeout,
               "the replays of this request took longer than server.replay_ms allows"};
}

// The first calls of a journal: those after them are not to be compared with.
class CutJournal final : public engine::JournalSource {
 public:
  CutJournal(std::shared_ptr<engine::JournalSource> whole, std::int64_t calls, const Clock& clock,
             MonoTime deadline)
      : whole_(std::move(whole)), calls_(calls), clock_(clock), deadline_(deadline) {}

  void next(std::function<void(Result<engine::RecordedPage>)> done) override {
    whole_->next([calls = calls_, &clock = clock_, deadline = deadline_,
                  done = std::move(done)](Result<engine::RecordedPage> page) {
      if (page.has_value() && clock.monotonic() > deadline) page = too_late();
      if (page.has_value()) {
        auto& rows = page.value().rows;
        const auto beyond = [calls](const auto& row) { return row.seq > calls; };
        if (std::erase_if(rows, beyond) > 0) page.value().more = false;
        if (!rows.empty() && rows.back().seq == calls) page.value().more = false;
      }
      done(std::move(page));
    });
  }

 private:
  const std::shared_ptr<engine::JournalSource> whole_;
  const std::int64_t calls_;
  const Clock& clock_;
  const MonoTime deadline_;
};

std::string render_call(const std::optional<CallShown>& call) {
  if (!call) return "null";
  return std::move(JsonObject()
                       .string("service", call->service)
                       .string("method", call->method)
                       .string("args", call->args))
      .text();
}

std::optional<CallShown> shown(const storage::JournalRow& row) {
  return CallShown{row.service_name, row.method_name, clip_utf8(row.args, kArgsShownMax)};
}

std::optional<CallShown> shown(const engine::IssuedCall& call) {
  return CallShown{call.service, call.method, clip_utf8(call.args, kArgsShownMax)};
}

std::optional<CallShown> shown(const Json& call) {
  if (!call.is_object()) return std::nullopt;
  return CallShown{call.value("service", ""), call.value("method", ""), call.value("args", "")};
}

}  // namespace

std::string render_difference(const Difference& difference) {
  return std::move(JsonObject()
                       .number("seq", difference.seq)
                       .raw("recorded", render_call(difference.recorded))
                       .raw("replayed", render_call(difference.replayed)))
      .text();
}

net::awaitable<Result<Replayed>> DryReplays::replay(ReplayAsk ask) {
  struct Slot {
    explicit Slot(std::atomic<int>& n) : count(n), number(++n) {}
    Slot(const Slot&) = delete;
    Slot& operator=(const Slot&) = delete;
    ~Slot() { --count; }
    std::atomic<int>& count;
    const int number;
  };
  const Slot slot(at_work_);
  if (slot.number > options_.at_once_max) {
    co_return Error{Errc::overloaded, "server.replays_max replays are at work: try again"};
  }
  const MonoTime began = clock_.monotonic();
  const MonoTime latest = began + options_.deadline;
  auto replayed = co_await run(ask, std::min(latest, ask.give_up.value_or(latest)));
  if (replayed.has_value()) {
    const auto took = clock_.monotonic() - began;
    replayed.value().took_ms =
        std::chrono::duration_cast<std::chrono::milliseconds>(took).count();
  }
  co_return replayed;
}

net::awaitable<Result<Replayed>> DryReplays::run(const ReplayAsk& ask, MonoTime deadline) {
  // Calls with an outcome by that position have been issued by then, and those before them. What
  // else has been, the replay tells. At the journal's end all that is recorded has been.
  std::int64_t calls = ask.head.call_count;
  if (ask.through < ask.head.journal_length) {
    auto delivered = co_await calls_delivered(ask, deadline);
    if (delivered.has_error()) co_return std::move(delivered).error();
    calls = delivered.value();
  }
  const std::int64_t logs = ask.count_logs ? 0 : ask.head.log_count;
  auto result = co_await slice(ask, calls, logs, deadline);
  if (result.has_error()) co_return std::move(result).error();
  Replayed replayed;
  replayed.status = result.value().status;
  replayed.payload = std::move(result.value().payload);
  if (replayed.status == engine::SliceStatus::divergent) {
    const Json told = Json::parse(replayed.payload, nullptr, false);
    Difference& difference = replayed.difference.emplace();
    if (!told.is_object()) co_return Error{Errc::internal, "the engine told no difference"};
    difference.seq = told.value("seq", std::int64_t{0});
    difference.replayed = told.contains("replayed") ? shown(told["replayed"]) : std::nullopt;
    auto row = co_await recorded_call(ask.head.id, difference.seq);
    if (row.has_error()) co_return std::move(row).error();
    if (row.value()) difference.recorded = shown(*row.value());
    co_return replayed;
  }
  replayed.calls = calls + static_cast<std::int64_t>(result.value().calls.size());
  replayed.next = std::move(result.value().calls);
  replayed.dropped = std::move(result.value().dropped);
  if (ask.count_logs) {
    auto counted = co_await count_logs(
        ask, calls, static_cast<std::int64_t>(result.value().logs.size()), deadline);
    if (counted.has_error()) co_return std::move(counted).error();
    replayed.logs = counted.value();
  }
  const auto compared = co_await compare(ask, calls, replayed, deadline);
  if (compared.has_error()) co_return compared.error();
  co_return replayed;
}

// The slice that a cold start with this journal makes.
net::awaitable<Result<engine::SliceResult>> DryReplays::slice(const ReplayAsk& ask,
                                                              std::int64_t calls,
                                                              std::int64_t logs,
                                                              MonoTime deadline) {
  if (clock_.monotonic() > deadline) co_return too_late();
  engine::SliceRequest request;
  request.run = TaskRunId(ids_.fetch_sub(1));  // nobody's: it meets no run of the store
  request.shown_as = ask.shown_as ? ask.shown_as : ask.head.id;
  request.code = ask.code;
  request.input = ask.input ? *ask.input : ask.head.input;
  request.seed = ask.head.seed;
  request.started_at_ms = ask.head.created_at.ms;
  request.delivered_through = ask.through;
  request.calls_recorded = calls;
  request.logs_recorded = logs;
  request.alone = ask.head.crashes > 0;
  request.open_journal = [this, run = ask.head.id, through = ask.through, calls, deadline] {
    return std::make_shared<CutJournal>(
        make_journal_source(store_, run, through, options_.page_bytes), calls, clock_, deadline);
  };
  const TaskRunId thrown_away = request.run;
  auto start = [this, &request](auto done) {
    runtime_.run_slice(std::move(request), std::move(done));
  };
  auto result = co_await completes<Result<engine::SliceResult>>(std::move(start));
  runtime_.forget(thrown_away);
  co_return result;
}

net::awaitable<Result<std::int64_t>> DryReplays::calls_delivered(const ReplayAsk& ask,
                                                                 MonoTime deadline) {
  std::int64_t after = 0, last = 0;
  for (bool more = true; more;) {
    if (clock_.monotonic() > deadline) co_return too_late();
    auto read = [this, &ask, after](auto done) {
      store_.journal(ask.head.id, after, options_.page_bytes, std::move(done));
    };
    auto page = co_await completes<Result<storage::JournalPage>>(std::move(read));
    if (page.has_error()) co_return std::move(page).error();
    more = page.value().more;
    for (const auto& row : page.value().rows) {
      after = row.seq;
      if (row.outcome && row.outcome->delivered_as <= ask.through) last = row.seq;
    }
  }
  co_return last;
}

// An engine sends only so many entries at once: asked again, it drops those that it sent before.
net::awaitable<Result<std::int64_t>> DryReplays::count_logs(const ReplayAsk& ask,
                                                            std::int64_t calls, std::int64_t found,
                                                            MonoTime deadline) {
  std::int64_t logs = found;
  while (found > 0) {
    auto again = co_await slice(ask, calls, logs, deadline);
    if (again.has_error()) co_return std::move(again).error();
    found = static_cast<std::int64_t>(again.value().logs.size());
    logs += found;
  }
  co_return logs;
}

// What it issued beyond the calls that the engine compared with is compared here, and is `next`
// where nothing is recorded.
net::awaitable<Result<void>> DryReplays::compare(const ReplayAsk& ask, std::int64_t calls,
                                                 Replayed& replayed, MonoTime deadline) {
  const std::int64_t known = std::min(replayed.calls, ask.head.call_count);
  std::int64_t after = calls;
  while (after < known && !replayed.difference) {
    if (clock_.monotonic() > deadline) co_return too_late();
    auto read = [this, &ask, after](auto done) {
      store_.journal(ask.head.id, after, options_.page_bytes, std::move(done));
    };
    auto page = co_await completes<Result<storage::JournalPage>>(std::move(read));
    if (page.has_error()) co_return std::move(page).error();
    if (page.value().rows.empty()) co_return Error{Errc::conflict, "the run was changed meanwhile"};
    for (const auto& row : page.value().rows) {
      if (row.seq > known) break;
      after = row.seq;
      const auto& call = replayed.next[static_cast<std::size_t>(row.seq - calls - 1)];
      if (call.service == row.service_name && call.method == row.method_name &&
          call.args == row.args) {
        continue;
      }
      replayed.difference = Difference{row.seq, shown(row), shown(call)};
      break;
    }
  }
  replayed.next.erase(replayed.next.begin(), replayed.next.begin() + (known - calls));
  co_return success();
}

net::awaitable<Result<std::optional<storage::JournalRow>>> DryReplays::recorded_call(
    TaskRunId run, std::int64_t seq) {
  auto read = [this, run, seq](auto done) { store_.journal(run, seq - 1, 1, std::move(done)); };
  auto page = co_await completes<Result<storage::JournalPage>>(std::move(read));
  if (page.has_error()) co_return std::move(page).error();
  std::optional<storage::JournalRow> row;
  if (!page.value().rows.empty() && page.value().rows.front().seq == seq) {
    row = std::move(page.value().rows.front());
  }
  co_return row;
}

}  // namespace sequential::server
