#include "program.h"

#include <algorithm>
#include <utility>

#include "random.h"

namespace sequential::simulation {
namespace {

constexpr int kStepsMax = 5;
constexpr int kCallsAtOnceMax = 4;

std::uint64_t hash_text(std::string_view text) {
  std::uint64_t hash = text.size();
  for (const char c : text) hash = mix(hash ^ static_cast<unsigned char>(c));
  return hash;
}

Call random_call(Random& random) {
  Call call;
  call.service = "sink";
  call.args = "0";
  const int what = random.below(100);
  if (what < 35) {
    call.method = "value";
  } else if (what < 62) {
    call.method = "once";
  } else if (what < 77) {
    call.method = "flaky";
  } else if (what < 82) {
    call.method = "broken";
  } else {
    call.service = "timer";
    call.method = "sleep";
    constexpr int kPauses[] = {1, 40, 250, 900, 4'000};
    call.args = std::to_string(kPauses[random.below(5)]);
  }
  if (call.service == "sink" && random.chance(80)) {
    constexpr const char* kOptions[] = {R"({"delivery":"at_most_once"})",
                                        R"({"retry":{"attempts":5,"backoffMs":10}})",
                                        R"({"timeoutMs":300})", R"({"timeoutMs":-1})"};
    call.options = kOptions[random.below(4)];
  }
  return call;
}

}  // namespace

Program make_program(std::string_view input) {
  Random random(hash_text(input));
  Program program;
  const int steps = random.between(1, kStepsMax);
  for (int i = 0; i < steps; ++i) {
    Step step;
    const int kind = random.below(100);
    step.kind = kind < 35   ? Step::Kind::call
                : kind < 42 ? Step::Kind::strict
                : kind < 55 ? Step::Kind::branch
                : kind < 75 ? Step::Kind::all
                : kind < 90 ? Step::Kind::race
                            : Step::Kind::background;
    const bool many = step.kind == Step::Kind::all || step.kind == Step::Kind::race ||
                      step.kind == Step::Kind::background;
    const int calls = many                              ? random.between(1, kCallsAtOnceMax)
                      : step.kind == Step::Kind::branch ? 2
                                                        : 1;
    for (int n = 0; n < calls; ++n) step.calls.push_back(random_call(random));
    program.steps.push_back(std::move(step));
  }
  program.throws = random.chance(100);
  return program;
}

Machine::Machine(std::string_view input, std::string_view seed, std::int64_t started_at_ms)
    : program_(make_program(input)) {
  fold(hash_text(input));
  fold(hash_text(seed));
  fold(static_cast<std::uint64_t>(started_at_ms));
  run();
}

void Machine::fold(std::uint64_t value) { state_hash_ = mix(state_hash_ ^ value); }

void Machine::fold(const Seen& seen) {
  fold(static_cast<std::uint64_t>(seen.seq));
  fold(seen.failed ? 1 : 0);
  fold(hash_text(seen.payload));
  fold(static_cast<std::uint64_t>(seen.at_ms));
}

void Machine::issue(const Call& call) {
  Call issued = call;
  issued.seq = static_cast<std::int64_t>(calls_.size()) + 1;
  // The arguments tell one history from another: a replay that goes astray is seen at once.
  issued.args = "[" + call.args + ",\"" + std::to_string(state_hash_) + "\"]";
  awaited_.push_back(issued.seq);
  calls_.push_back(std::move(issued));
}

void Machine::end(State state, std::string payload) {
  state_ = state;
  payload_ = std::move(payload);
  awaited_.clear();
  came_.clear();
}

void Machine::run() {
  while (state_ == State::waiting) {
    if (step_ == program_.steps.size()) {
      const std::string sum = std::to_string(state_hash_);
      if (program_.throws) {
        end(State::failed, R"({"name":"Error","code":"task_error","message":")" + sum + "\"}");
      } else {
        end(State::completed, "\"" + sum + "\"");
      }
      return;
    }
    const Step& step = program_.steps[step_];
    if (!begun_) {
      begun_ = true;
      branched_ = false;
      first_ = 0;
      logs_.push_back("step " + std::to_string(step_) + " " + std::to_string(state_hash_));
      const std::size_t at_once = step.kind == Step::Kind::branch ? 1 : step.calls.size();
      for (std::size_t i = 0; i < at_once; ++i) issue(step.calls[i]);
    }
    if (!step_done()) return;
    ++step_;
    begun_ = false;
    awaited_.clear();
    came_.clear();
  }
}

bool Machine::step_done() {
  const Step& step = program_.steps[step_];
  switch (step.kind) {
    case Step::Kind::background:
      return true;
    case Step::Kind::race:
      if (first_ == 0) return false;
      fold(came_.at(first_));
      return true;
    case Step::Kind::branch:
      if (!branched_ && came_.size() == 1) {
        branched_ = true;
        const Seen& seen = came_.begin()->second;
        fold(seen);
        if (hash_text(seen.payload) % 2 == 0) return true;
        issue(step.calls[1]);
      }
      if (came_.size() < 2) return false;
      fold(came_.rbegin()->second);
      return true;
    case Step::Kind::call:
    case Step::Kind::strict:
    case Step::Kind::all:
      break;
  }
  if (came_.size() < awaited_.size()) return false;
  for (const auto& [seq, seen] : came_) fold(seen);
  if (step.kind == Step::Kind::strict && came_.begin()->second.failed) {
    end(State::failed, came_.begin()->second.payload);
    return false;
  }
  return true;
}

void Machine::deliver(const Seen& seen) {
  if (state_ != State::waiting) return;
  if (std::find(awaited_.begin(), awaited_.end(), seen.seq) == awaited_.end()) return;
  if (first_ == 0) first_ = seen.seq;
  logs_.push_back("seen " + std::to_string(seen.seq));
  came_.emplace(seen.seq, seen);
  run();
}

}  // namespace sequential::simulation
