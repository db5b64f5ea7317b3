#pragma once
// The world of a simulation: two or three nodes, their database, the network between them and what
// goes wrong, all on one thread and in simulated time. Every choice comes from one seed, so a seed
// is a schedule and can be run again.
//
// A schedule has two halves. In the first everything happens in random order, and what the
// reliability model allows to go wrong does. In the second nothing goes wrong any more; all work
// has to come to its end in bounded time, and then the invariants are checked.

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "database.h"
#include "node.h"
#include "random.h"
#include "sink.h"

namespace sequential::simulation {

struct Options {
  std::uint64_t seed = 1;
  Break breaks = Break::none;
  bool trace = false;  // to standard output, as it happens
  bool keep_trace = false;
};

// How often something happened that a good run of the simulation has to have seen.
struct Sights {
  std::int64_t schedules = 0, steps = 0, runs = 0, calls = 0, ended = 0, cancelled = 0;
  std::int64_t warm = 0, replays = 0, lost_slices = 0, kills = 0, freezes = 0, drains = 0;
  std::int64_t fenced = 0, unavailable = 0, unknown_commits = 0, lost_tries = 0, retries = 0;
  std::int64_t outcomes_unknown = 0, overdue = 0, crashes_with_loss = 0, paused = 0, hints_lost = 0;
  Sights& operator+=(const Sights& other);
  std::string text() const;
  std::vector<std::string> missing() const;  // what never happened
};

struct Verdict {
  std::optional<std::string> violation;
  Sights sights;
  std::string trace;  // with keep_trace
};

// Runs one schedule.
Verdict simulate(const Options& options);

class World {
 public:
  explicit World(const Options& options);
  World(const World&) = delete;
  World& operator=(const World&) = delete;
  ~World();

  Verdict run();

  void say(const std::string& line);  // to the trace
  void violated(std::string what);    // the first one counts
  static World* current();            // for the log and the clock

  MonoTime now() const { return now_; }
  double random01() { return static_cast<double>(random_.next() >> 11) * 0x1.0p-53; }
  Sights& sights() { return sights_; }

 private:
  struct Hint {
    std::string from;
    StackRunId id;
  };
  struct Rumour {  // news of the database for one node
    std::string node;
    std::function<void()> tell;
  };
  enum class Fault {
    kill,
    freeze,
    drain,
    kill_engine,
    evict,
    engine_full,
    refuse,
    unknown_commit,
    lose_hint,
    crash_database,
    silence,
    pause,
    resume,
    cancel,
    count,
  };
  class NodeClock final : public Clock {
   public:
    NodeClock(const World& world, Millis ahead) : world_(world), ahead_(ahead) {}
    WallTime now() const override;
    MonoTime monotonic() const override { return world_.now_; }

   private:
    const World& world_;
    const Millis ahead_;
  };

  // world.cpp
  void draw_settings();
  void start_node();
  void stop_node(const std::string& name, const char* why);
  Node* find(const std::string& node);
  std::vector<Node*> awake();
  void fire(const std::string& from, StackRunId id);
  bool step(bool calm);
  bool step_wire(bool calm);
  void apply(Operation& operation);
  void step_hint(bool calm);
  void spread(const Tidings& tidings);
  void pass_time(Millis by);
  void check_database();
  bool submit_one();

  // faults.cpp
  void fault();
  void fault_of_database(Fault fault);
  void fault_of_person(Fault fault, Node& node);
  Node* pick_node();

  // heal.cpp
  void heal();
  bool all_over();
  std::string what_is_left();
  void check_arrival(const std::string& node, const services::CallRequest& request);
  void check_end();
  void check_run(const RunRow& run);
  void check_program(const RunRow& run, const std::vector<const StackRow*>& rows);
  void check_call(const RunRow& run, const StackRow& call);
  std::string synthetic_problem(const StackRow& call) const;

  const Options options_;
  Random random_;
  MonoTime now_;
  Millis database_ahead_{0};
  Sights sights_;
  std::optional<std::string> violation_;
  std::string trace_;

  int nodes_max_ = 2, faults_per_mille_ = 0, names_ = 0, hint_elsewhere_per_mille_ = 0;
  bool chain_works_ = true;  // after healing too
  std::vector<Fault> faults_;
  server::ProcessorOptions node_options_;

  std::vector<std::unique_ptr<NodeClock>> clocks_;
  Database database_;
  Wire wire_;
  Sink sink_;
  std::vector<Hint> hints_;
  std::vector<Rumour> rumours_;
  std::vector<std::shared_ptr<Client>> clients_;
  std::vector<std::unique_ptr<Node>> nodes_;  // last made, first gone
};

}  // namespace sequential::simulation
