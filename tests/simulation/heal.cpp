// World: after the last fault. Everything comes to its end, and the invariants I1–I8 hold.

#include <algorithm>
#include <sstream>
#include <utility>

#include "sequential/base/json_text.h"
#include "world.h"

namespace sequential::simulation {

using storage::RunStatus;
using storage::StackStatus;

namespace {

// Far more than any program sleeps; with the chain off every step of it waits for a sweep.
constexpr Millis kHealWithin{180'000};
constexpr Millis kHealTick{20};

template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

}  // namespace

bool World::all_over() {
  for (const auto& client : clients_) {
    if (!client->acknowledged || client->under_way) return false;
  }
  for (const auto& [id, row] : database_.rows()) {
    if (!is_terminal(row.status)) return false;
  }
  for (const auto& node : nodes_) {
    if (!node->processor().idle()) return false;
  }
  return true;
}

std::string World::what_is_left() {
  std::string left;
  for (const auto& client : clients_) {
    if (!client->acknowledged) left += " " + client->key + " is not acknowledged;";
  }
  for (const auto& [id, run] : database_.runs()) {
    if (is_terminal(run.status)) continue;
    left += text(" run ", id, " is ", run_status_name(run.status), " ", run.pause_reason, ";");
  }
  for (const auto& [id, row] : database_.rows()) {
    if (is_terminal(row.status)) continue;
    left += text(" stack run ", id, " (run ", row.run.value, ", seq ", row.seq, ") is ",
                 stack_status_name(row.status), ", epoch ", row.epoch, ", owner ", row.owner,
                 ", seen ", row.delivered_through, " of ", row.journal_length, ";");
  }
  for (const auto& node : nodes_) {
    left += text(" ", node->name, " has ", node->processor().in_flight(), " in flight and holds ",
                 node->processor().held(), ";");
  }
  return left;
}

void World::heal() {
  say("heal");
  for (const auto& node : nodes_) node->frozen_until.reset();
  for (std::size_t n = nodes_.size(); n-- > 0;) {
    if (nodes_[n]->draining) stop_node(nodes_[n]->name, "end after the drain");
  }
  if (nodes_.empty()) start_node();
  const MonoTime until = now_ + kHealWithin;
  int ticks = 0;
  while (!violation_ && !all_over()) {
    if (now_ >= until) return violated("not all work has ended:" + what_is_left());
    for (bool busy = true; busy && !violation_;) {
      busy = step(true);
      for (int i = 0; !busy && i < 3; ++i) {  // nothing by chance: is there nothing at all?
        for (const auto& node : nodes_) busy = node->poll() || busy;
        busy = busy || step(true);
      }
    }
    pass_time(kHealTick);
    if (++ticks % 50 != 0) continue;
    for (const auto& [id, run] : database_.runs()) {
      if (run.status != RunStatus::paused) continue;
      if (run.pause_reason == "divergent") return violated(text("run ", id, " is divergent"));
      ++sights_.paused;
      random_.pick(nodes_)->resume(run.id);
    }
  }
}

// --- the invariants ------------------------------------------------------------------------------

// I3, at the moment a call reaches the sink.
void World::check_arrival(const std::string& node, const services::CallRequest& request) {
  const std::string& key = request.idempotency_key;
  say("the sink gets " + key + " attempt " + std::to_string(request.attempt) + " from " + node);
  const Ledger& before = sink_.ledger[key];
  const auto row =
      std::find_if(database_.rows().begin(), database_.rows().end(), [&](const auto& entry) {
        return entry.second.run == request.run && entry.second.seq == request.seq;
      });
  const bool once =
      row != database_.rows().end() && row->second.delivery == storage::Delivery::at_most_once;
  if (once) sink_.ledger[key].at_most_once = true;
  if (sink_.ledger[key].at_most_once && !before.arrivals.empty()) {
    violated("the at_most_once call " + key + " reached the sink again");
  }
  if (database_.commits_lost() > 0) return;  // what a crashed database forgot is done again
  if (database_.recorded().contains({request.run, request.seq})) {
    violated("the call " + key + " reached the sink after its outcome was recorded");
  }
  for (const auto& arrival : before.arrivals) {
    if (arrival.attempt == request.attempt) {
      violated(text("attempt ", request.attempt, " of ", key, " reached the sink twice"));
    }
  }
}

void World::check_end() {
  for (const auto& client : clients_) {
    const auto run = database_.runs().find(client->run.value);
    if (run == database_.runs().end()) {
      violated("acknowledged and gone: " + client->key);
      continue;
    }
    if (run->second.key != client->key) violated("acknowledged as another's: " + client->key);
    if (!client->heard) continue;
    const auto& heard = *client->heard;
    if (heard.status != run->second.status || heard.result != run->second.result) {
      violated("a client heard another end than the run has: " + client->key);
    }
  }
  if (database_.runs().size() != clients_.size()) violated("a run was submitted twice");
  for (const auto& [id, run] : database_.runs()) check_run(run);
}

void World::check_run(const RunRow& run) {
  const auto id = run.id.value;
  ++sights_.runs;
  ++(run.status == RunStatus::cancelled ? sights_.cancelled : sights_.ended);
  if (!is_terminal(run.status)) violated(text("run ", id, " has not ended"));
  const auto end = database_.ends().find(run.id);
  const std::string& payload = run.status == RunStatus::completed ? run.result : run.error;
  if (end == database_.ends().end() || end->second != std::pair(run.status, payload)) {
    violated(text("the end of run ", id, " has changed"));
  }
  const auto rows = database_.rows_of(run.id);
  const StackRow& root = *rows.front();
  std::vector<std::int64_t> positions;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const StackRow& row = *rows[i];
    if (row.seq != static_cast<std::int64_t>(i))
      violated(text("run ", id, " has a gap in its calls"));
    if (!is_terminal(row.status)) violated(text("stack run ", row.id.value, " has not ended"));
    if (row.delivered_as > 0) positions.push_back(row.delivered_as);
    if (row.seq > 0) check_call(run, row);
  }
  if (root.call_count + 1 != static_cast<std::int64_t>(rows.size())) {
    violated(text("run ", id, " has another number of calls than it counts"));
  }
  std::sort(positions.begin(), positions.end());
  bool whole = static_cast<std::int64_t>(positions.size()) == root.journal_length;
  for (std::size_t i = 0; i < positions.size(); ++i) {
    whole = whole && positions[i] == static_cast<std::int64_t>(i) + 1;
  }
  if (!whole) violated(text("the journal of run ", id, " is not 1, 2, … ", root.journal_length));
  check_program(run, rows);
}

// I8: the program, given the journal, does what is stored.
void World::check_program(const RunRow& run, const std::vector<const StackRow*>& rows) {
  const auto id = run.id.value;
  const StackRow& root = *rows.front();
  Machine machine(run.input, run.seed, run.created_at.ms);
  std::vector<const StackRow*> journal;
  for (const StackRow* row : rows) {
    if (row->delivered_as > 0 && row->delivered_as <= root.delivered_through) {
      journal.push_back(row);
    }
  }
  std::sort(journal.begin(), journal.end(),
            [](const auto* a, const auto* b) { return a->delivered_as < b->delivered_as; });
  for (const StackRow* row : journal) {
    machine.deliver({row->seq, row->delivered_as, row->failed, row->payload, row->updated_at.ms});
  }
  if (root.slice == 0) return;  // cancelled before its first slice was stored
  const auto& calls = machine.calls();
  bool same = calls.size() + 1 == rows.size();
  for (std::size_t i = 0; same && i < calls.size(); ++i) {
    const StackRow& row = *rows[i + 1];
    same = row.service == calls[i].service && row.method == calls[i].method &&
           row.args == calls[i].args && row.options == calls[i].options;
  }
  if (!same) violated(text("run ", id, " has other calls than its program makes"));
  if (machine.logs() != root.logs) {
    std::string logs;
    for (const auto& line : root.logs) logs += line + "; ";
    logs += "and not ";
    for (const auto& line : machine.logs()) logs += line + "; ";
    violated(text("run ", id, " has another log than its program: ", logs));
  }
  if (run.status == RunStatus::cancelled) return;
  const auto state =
      run.status == RunStatus::completed ? Machine::State::completed : Machine::State::failed;
  const std::string& payload = run.status == RunStatus::completed ? run.result : run.error;
  if (machine.state() != state || machine.payload() != payload) {
    violated(text("run ", id, " ended in ", payload, ", its program in ", machine.payload()));
  }
}

// I2 and I3, at the end: what is recorded was answered, and the tries can be accounted for.
void World::check_call(const RunRow& run, const StackRow& call) {
  ++sights_.calls;
  sights_.lost_tries += call.lost;
  const std::string key = text(run.id.value, ":", call.seq);
  const auto recorded = database_.recorded().find({run.id, call.seq});
  if (call.status == StackStatus::cancelled) {
    if (recorded != database_.recorded().end()) violated("a recorded call was cancelled: " + key);
    return;
  }
  if (recorded == database_.recorded().end() || recorded->second.id != call.id ||
      recorded->second.payload != call.payload || recorded->second.failed != call.failed ||
      recorded->second.delivered_as != call.delivered_as) {
    return violated("the recorded outcome of " + key + " has changed");
  }
  if (call.service == "timer") {
    if (call.failed) violated("a sleep failed: " + key + " " + call.payload);
    return;
  }
  const auto found = sink_.ledger.find(key);
  const Ledger entry = found == sink_.ledger.end() ? Ledger{} : found->second;
  const std::pair mine(call.failed, call.payload);
  if (std::find(entry.answers.begin(), entry.answers.end(), mine) == entry.answers.end()) {
    const std::string problem = synthetic_problem(call);
    if (!problem.empty()) violated(problem + ": " + key + " " + call.payload);
    const bool unknown = json_member(call.payload, "code") == "\"outcome_unknown\"";
    ++(unknown ? sights_.outcomes_unknown : sights_.overdue);
  }
  sights_.retries += entry.retryable;
  const int tries = static_cast<int>(entry.arrivals.size());
  const int accounted = 1 + entry.retryable + entry.late + call.lost;
  if (database_.commits_lost() == 0 && tries > accounted) {
    violated(text(key, " reached the sink ", tries, " times, which ", accounted - 1,
                  " faults do not explain"));
  }
}

// Why the outcome of a call, which the sink did not answer, is wrong; empty if it is right.
std::string World::synthetic_problem(const StackRow& call) const {
  if (!call.failed) return "an outcome that nobody answered";
  const auto code = json_member(call.payload, "code");
  const bool once = call.delivery == storage::Delivery::at_most_once;
  if (code == "\"outcome_unknown\"") return once ? "" : "outcome_unknown, but it may be repeated";
  if (code == "\"timeout\"") return once ? "timeout of an at_most_once call" : "";
  if (code == "\"invalid_arguments\"") {
    return call.options.empty() ? "refused without options" : "";
  }
  return "an error that nobody answered";
}

}  // namespace sequential::simulation
