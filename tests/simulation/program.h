#pragma once
// What a task of the simulation does: a small program drawn from its input, and the machine that
// runs it as an engine would. Its result is a function of the outcomes it was given, of the order
// in which they were delivered, and of nothing else.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace sequential::simulation {

struct Call {
  std::int64_t seq = 0;
  std::string service, method, args, options;
};

struct Step {
  enum class Kind {
    call,        // one call, awaited; a failure is caught
    strict,      // one call, awaited; a failure ends the task
    branch,      // a call, and another one if the first one's outcome says so
    all,         // several at once, all awaited
    race,        // several at once, the first outcome goes on
    background,  // issued, never awaited
  };
  Kind kind = Kind::call;
  std::vector<Call> calls;  // without seq; `args` is completed when it is issued
};

struct Program {
  std::vector<Step> steps;
  bool throws = false;
};

// Always the same for the same input. Inputs are JSON numbers.
Program make_program(std::string_view input);

struct Seen {  // an outcome as the task sees it
  std::int64_t seq = 0;
  std::int64_t delivered_as = 0;
  bool failed = false;
  std::string payload;
  std::int64_t at_ms = 0;
};

class Machine {
 public:
  enum class State { waiting, completed, failed };

  // Runs to the first suspension.
  Machine(std::string_view input, std::string_view seed, std::int64_t started_at_ms);
  // Runs on to the next one. What nobody awaits is dropped, like anything after the end.
  void deliver(const Seen& seen);

  State state() const { return state_; }
  const std::string& payload() const { return payload_; }    // the result or the error
  const std::vector<Call>& calls() const { return calls_; }  // all issued, in seq order
  const std::vector<std::string>& logs() const { return logs_; }

 private:
  void run();                    // begins steps until one has to wait
  void issue(const Call& call);  // of the step at hand
  bool step_done();              // folds what came in; true if the step is over
  void fold(const Seen& seen);
  void fold(std::uint64_t value);
  void end(State state, std::string payload);

  const Program program_;
  std::size_t step_ = 0;
  bool begun_ = false;                 // the step at hand has issued its calls
  bool branched_ = false;              // … and its second one
  std::vector<std::int64_t> awaited_;  // seqs of the step at hand
  std::map<std::int64_t, Seen> came_;  // of those
  std::int64_t first_ = 0;             // the seq that came first
  std::uint64_t state_hash_ = 0;
  State state_ = State::waiting;
  std::string payload_;
  std::vector<Call> calls_;
  std::vector<std::string> logs_;
};

}  // namespace sequential::simulation
