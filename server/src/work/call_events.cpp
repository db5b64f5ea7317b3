#include "work/call_events.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "routes/render.h"
#include "sequential/base/json_text.h"

namespace sequential::server {
namespace {

constexpr int kPage = 200;  // calls of one read

JsonObject head_of(const storage::CallTrace& call) {
  JsonObject object;
  object.number("seq", call.seq).string("service", call.service).string("method", call.method);
  return object;
}

std::string begin_of(const storage::CallTrace& call) {
  JsonObject object = head_of(call);
  return std::move(object.string("at", iso_time(call.created_at))).text();
}

std::string outcome_of(const storage::CallTrace& call) {
  JsonObject object = head_of(call);
  object.string("status", storage::stack_status_name(call.status));
  object.number("attempts", call.attempts).number("position", call.position);
  const auto time = [&object](std::string_view name, const std::optional<WallTime>& at) {
    at ? object.string(name, iso_time(*at)) : object.null(name);
  };
  object.string("at", iso_time(call.created_at));
  time("started_at", call.started_at);
  time("ended_at", call.ended_at);
  return std::move(object).text();
}

}  // namespace

bool CallTrail::behind(const storage::TaskRun& newest) {
  // Somebody took the run back to an earlier point: what it does from there is new.
  if (newest.call_count < seen_.calls ||
      newest.journal_length < std::max(seen_.outcomes, seen_.through)) {
    seen_ = {std::min(seen_.calls, newest.call_count),
             std::min(seen_.outcomes, newest.journal_length), 0, 0};
    from_ = 0;
    open_.clear();
    passing_ = false;
  }
  if (passing_) return true;
  if (seen_.calls == newest.call_count && seen_.outcomes == newest.journal_length) return false;
  passing_ = true;
  // What is left of another stream's pass: only of the calls that it had come to, so that the rest
  // is told in the order in which that stream would have told it.
  calls_ = seen_.at == 0 ? newest.call_count : std::max(seen_.at, seen_.calls);
  read_ = 0;
  next_open_.clear();
  if (seen_.at == 0) seen_.through = newest.journal_length;
  return true;
}

storage::CallsAsked CallTrail::next(TaskRunId run) const {
  storage::CallsAsked asked;
  asked.run = run;
  asked.open = open_;
  asked.from = from_;
  asked.after = read_;
  asked.through = calls_;
  asked.limit = kPage;
  return asked;
}

void CallTrail::take(const std::vector<storage::CallTrace>& page, const Tell& tell) {
  for (const auto& call : page) {
    read_ = call.seq;
    const bool in_journal = call.position > 0 && call.position <= seen_.through;
    if (!in_journal && (call.position > 0 || !storage::is_terminal(call.status))) {
      next_open_.push_back(call.seq);
    }
    if (call.seq <= seen_.at) continue;  // told by a stream before, in its pass
    const bool begun = call.seq > seen_.calls;
    const bool ended = in_journal && (begun || call.position > seen_.outcomes);
    // Between the two, one is seen and the other is not: the number before, and one call more.
    if (begun && ended) {
      const CallsSeen before = seen_;
      seen_ = {call.seq, before.outcomes, call.seq - 1, before.through};
      tell("call", begin_of(call));
      seen_ = {before.calls, before.outcomes, call.seq, before.through};
      tell("outcome", outcome_of(call));
    } else if (begun || ended) {
      seen_.at = call.seq;
      tell(begun ? "call" : "outcome", begun ? begin_of(call) : outcome_of(call));
    }
  }
  if (page.size() < kPage) end_pass();
}

void CallTrail::end_pass() {
  seen_ = {calls_, seen_.through, 0, 0};
  from_ = calls_;
  open_ = std::move(next_open_);
  next_open_.clear();
  passing_ = false;
}

}  // namespace sequential::server
