#include "world.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "sequential/base/log.h"
#include "work/timer.h"

// The log of the server's parts goes into the trace; sequential::base_log is not linked.
namespace sequential {
void start_logging(LogLevel, LogFormat) {}
void stop_logging() {}
std::uint64_t log_lines_dropped() noexcept { return 0; }
bool log_enabled(LogLevel) noexcept { return true; }
void log(LogLevel, std::string_view message, std::initializer_list<LogField> fields) {
  auto* world = simulation::World::current();
  if (world == nullptr) return;
  std::string line = "    log: " + std::string(message);
  for (const auto& field : fields) line += " " + std::string(field.key) + "=" + field.value;
  world->say(line);
}
}  // namespace sequential

namespace sequential::simulation {
namespace {

World* the_world = nullptr;
constexpr MonoTime kStart{std::chrono::hours(1)};
constexpr std::int64_t kEpochMs = 1'800'000'000'000;
constexpr Millis kLease{3'000};

constexpr std::pair<const char*, std::int64_t Sights::*> kSights[] = {
    {"schedules", &Sights::schedules},
    {"steps", &Sights::steps},
    {"runs", &Sights::runs},
    {"calls", &Sights::calls},
    {"runs ended by their program", &Sights::ended},
    {"cancelled", &Sights::cancelled},
    {"warm slices", &Sights::warm},
    {"replays", &Sights::replays},
    {"slices lost with an engine", &Sights::lost_slices},
    {"nodes killed", &Sights::kills},
    {"frozen", &Sights::freezes},
    {"drained", &Sights::drains},
    {"writes fenced", &Sights::fenced},
    {"operations refused", &Sights::unavailable},
    {"commits not known", &Sights::unknown_commits},
    {"tries lost", &Sights::lost_tries},
    {"failures retried", &Sights::retries},
    {"outcomes unknown", &Sights::outcomes_unknown},
    {"outcomes by the caller", &Sights::overdue},
    {"database crashes with loss", &Sights::crashes_with_loss},
    {"paused runs resumed", &Sights::paused},
    {"hints lost", &Sights::hints_lost},
};

MonoTime world_now() noexcept { return the_world == nullptr ? kStart : the_world->now(); }
double world_random01() { return the_world->random01(); }

Millis since_start(MonoTime now) { return std::chrono::duration_cast<Millis>(now - kStart); }

}  // namespace

World* World::current() { return the_world; }

WallTime World::NodeClock::now() const {
  return WallTime{kEpochMs} + since_start(world_.now_) + ahead_;
}

World::World(const Options& options)
    : options_(options),
      random_(mix(options.seed)),
      now_(kStart),
      database_([this] { return WallTime{kEpochMs} + since_start(now_) + database_ahead_; },
                [this](std::string what) { violated(std::move(what)); }),
      sink_(random_, [this](const std::string& node, const services::CallRequest& request) {
        check_arrival(node, request);
      }) {
  the_world = this;
  server::TimerClock::source = &world_now;
  database_.breaks = options.breaks;
  draw_settings();
}

World::~World() {
  while (!nodes_.empty()) stop_node(nodes_.back()->name, "the end");
  the_world = nullptr;
}

void World::say(const std::string& line) {
  if (!options_.trace && !options_.keep_trace) return;
  const std::string text = std::to_string(since_start(now_).count()) + " " + line + "\n";
  if (options_.trace) std::fputs(text.c_str(), stdout);
  if (options_.keep_trace) trace_ += text;
}

void World::violated(std::string what) {
  say("VIOLATED: " + what);
  if (!violation_) violation_ = std::move(what);
}

void World::draw_settings() {
  nodes_max_ = random_.between(2, 3);
  database_ahead_ = Millis{random_.between(-10'000, 10'000)};
  hint_elsewhere_per_mille_ = random_.chance(300) ? 500 : 50;
  chain_works_ = random_.chance(800);
  constexpr int kFaultRates[] = {0, 3, 8, 16, 32};
  faults_per_mille_ = kFaultRates[random_.below(5)];
  for (int i = 0; i < static_cast<int>(Fault::count); ++i) {
    if (random_.chance(500)) faults_.push_back(static_cast<Fault>(i));
  }
  if (random_.chance(100)) {  // what it takes to see something that a crash took back
    faults_ = {Fault::crash_database, Fault::freeze, Fault::freeze};
    faults_per_mille_ = 40;
  }
  if (faults_.empty()) faults_per_mille_ = 0;

  auto& options = node_options_;
  options.lease.length = kLease;
  options.in_flight_max = random_.chance(200) ? random_.between(1, 3) : 64;
  options.handoff = random_.chance(750);
  options.crashes_max = 3;
  options.sweep_period = Millis{500};
  options.hint_wait = Millis{200};
  options.journal_page_bytes = random_.chance(500) ? 1 : 1 << 20;
  options.sessions_max = random_.chance(200) ? 1 : 100;
  options.timers_max = random_.chance(200) ? 1 : 100;
  options.store_is_exclusive = false;
  options.random = &world_random01;
  sink_.at_once_per_mille = random_.below(800);

  const int runs = random_.between(1, 4);
  for (int i = 0; i < runs; ++i) {
    auto client = std::make_shared<Client>();
    client->key = "key-" + std::to_string(i);
    client->input = std::to_string(random_.next() % 1'000'000'000);
    client->waits = random_.chance(300);
    if (random_.chance(100)) client->delay = Millis{random_.between(1, 1'000)};
    clients_.push_back(std::move(client));
  }
  for (int i = 0; i < nodes_max_; ++i) start_node();
}

// --- nodes ---------------------------------------------------------------------------------------

void World::start_node() {
  auto options = node_options_;
  options.lease.node = "n" + std::to_string(++names_);
  clocks_.push_back(std::make_unique<NodeClock>(*this, Millis{random_.between(-5'000, 5'000)}));
  say("start " + options.lease.node);
  const std::string node = options.lease.node;
  Node::Parts parts{database_,
                    wire_,
                    sink_,
                    *clocks_.back(),
                    [this, node](StackRunId id) { fire(node, id); },
                    [this] { return random_.chance(300); },
                    std::move(options)};
  nodes_.push_back(std::make_unique<Node>(std::move(parts)));
}

void World::stop_node(const std::string& name, const char* why) {
  const auto place = std::find_if(nodes_.begin(), nodes_.end(),
                                  [&](const auto& each) { return each->name == name; });
  const auto node = std::move(*place);
  nodes_.erase(place);
  say(std::string(why) + " of " + node->name);
  const auto& counts = node->runtime().counts();
  sights_.warm += counts.warm;
  sights_.replays += counts.replays;
  sights_.lost_slices += counts.lost;
  for (const auto& client : clients_) {
    if (client->under_way && client->node == node->name) client->under_way = false;
  }
}

Node* World::find(const std::string& name) {
  for (const auto& node : nodes_) {
    if (node->name == name) return node.get();
  }
  return nullptr;
}

std::vector<Node*> World::awake() {
  std::vector<Node*> awake;
  for (const auto& node : nodes_) {
    if (!node->frozen_until) awake.push_back(node.get());
  }
  return awake;
}

// --- steps ---------------------------------------------------------------------------------------

void World::fire(const std::string& from, StackRunId id) {
  if (find(from) != nullptr) hints_.push_back({from, id});
}

void World::pass_time(Millis by) {
  now_ += by;
  for (const auto& node : nodes_) {
    if (node->frozen_until && now_ >= *node->frozen_until) {
      say("thaw " + node->name);
      node->frozen_until.reset();
    }
  }
}

void World::spread(const Tidings& tidings) {
  for (const auto& node : nodes_) {
    const auto& news = node->news();
    if (!news.runnable) continue;
    for (const auto id : tidings.runnable) {
      rumours_.push_back({node->name, [tell = news.runnable, id] { tell(id); }});
    }
    for (const auto run : tidings.ended) {
      rumours_.push_back({node->name, [tell = news.ended, run] { tell(run); }});
    }
  }
}

void World::apply(Operation& operation) {
  say("apply " + operation.what + (operation.node.empty() ? "" : " of " + operation.node));
  operation.applied = true;
  operation.apply();
  spread(database_.take_tidings());
  if (operation.writes) check_database();
}

// What holds after every transition.
void World::check_database() {
  for (const auto& [id, row] : database_.rows()) {
    if (row.seq == 0 && row.status == storage::StackStatus::suspended_waiting_child &&
        row.journal_length > row.delivered_through) {
      violated("root " + std::to_string(id) + " sleeps over an outcome that it has not seen");
    }
  }
}

bool World::step_wire(bool calm) {
  std::vector<std::size_t> able;
  for (std::size_t i = 0; i < wire_.size(); ++i) {
    const Node* node = find(wire_[i]->node);
    if (!wire_[i]->applied || node == nullptr || !node->frozen_until) able.push_back(i);
  }
  if (able.empty()) return false;
  // Mostly in order; now and then something overtakes.
  const std::size_t place = calm || random_.chance(600) ? able.front() : random_.pick(able);
  const auto operation = wire_[place];
  const auto leave = [&] { wire_.erase(wire_.begin() + static_cast<std::ptrdiff_t>(place)); };
  if (!operation->applied) {
    apply(*operation);
    if (!operation->answer) leave();
    return true;
  }
  leave();
  if (!operation->answer) return true;
  say("answer " + operation->what + " to " + operation->node);
  operation->answer();
  return true;
}

void World::step_hint(bool calm) {
  const Hint hint = calm ? hints_.front() : random_.pick(hints_);
  if (calm || !random_.chance(60)) {  // else it is delivered again later
    const auto same = [&](const Hint& other) {
      return other.id == hint.id && other.from == hint.from;
    };
    hints_.erase(std::find_if(hints_.begin(), hints_.end(), same));
  }
  auto able = awake();
  Node* target = find(hint.from);
  if (target == nullptr || target->frozen_until || random_.chance(hint_elsewhere_per_mille_)) {
    target = able.empty() ? nullptr : random_.pick(able);
  }
  if (target == nullptr || target->draining || (calm && !chain_works_)) {
    ++sights_.hints_lost;
    return;
  }
  const bool taken = target->processor().accept(hint.id, storage::Via::chain);
  say("hint " + std::to_string(hint.id.value) + " to " + target->name + (taken ? "" : ": full"));
}

bool World::submit_one() {
  std::vector<std::shared_ptr<Client>> waiting;
  for (const auto& client : clients_) {
    if (!client->acknowledged && !client->under_way) waiting.push_back(client);
  }
  std::vector<Node*> able;
  for (Node* node : awake()) {
    if (!node->draining) able.push_back(node);
  }
  if (waiting.empty() || able.empty()) return false;
  const auto client = random_.pick(waiting);
  Node* const node = random_.pick(able);
  say("submit " + client->key + " to " + node->name);
  node->submit(client);
  return true;
}

// One thing happens; false if nothing could but the passing of time.
bool World::step(bool calm) {
  ++sights_.steps;
  enum class Act { poll, wire, hint, engine, sink, rumour, submit };
  std::vector<std::pair<Act, int>> acts{{Act::poll, 40}};
  auto able = awake();
  std::vector<Node*> engines;
  for (Node* node : able) {
    if (node->runtime().has_work()) engines.push_back(node);
  }
  std::vector<std::size_t> calls;
  for (std::size_t i = 0; i < sink_.pending.size(); ++i) {
    const Node* node = find(sink_.pending[i].node);
    if (!sink_.pending[i].silent && node != nullptr && !node->frozen_until) calls.push_back(i);
  }
  const bool unsent = std::any_of(clients_.begin(), clients_.end(), [](const auto& client) {
    return !client->acknowledged && !client->under_way;
  });
  if (unsent) acts.emplace_back(Act::submit, 2);
  if (!wire_.empty()) acts.emplace_back(Act::wire, 40);
  if (!hints_.empty()) acts.emplace_back(Act::hint, 15);
  if (!engines.empty()) acts.emplace_back(Act::engine, 15);
  if (!calls.empty()) acts.emplace_back(Act::sink, 10);
  if (!rumours_.empty()) acts.emplace_back(Act::rumour, 5);
  int total = 0;
  for (const auto& [act, weight] : acts) total += weight;
  int drawn = random_.below(total);
  Act chosen = Act::poll;
  for (const auto& [act, weight] : acts) {
    chosen = act;
    if ((drawn -= weight) < 0) break;
  }
  switch (chosen) {
    case Act::poll: {
      if (able.empty()) return false;
      // The first of them that has something to do.
      const int first = random_.below(static_cast<int>(able.size()));
      for (std::size_t i = 0; i < able.size(); ++i) {
        if (able[(static_cast<std::size_t>(first) + i) % able.size()]->poll()) return true;
      }
      return acts.size() > 1;
    }
    case Act::wire:
      return step_wire(calm);
    case Act::hint:
      step_hint(calm);
      return true;
    case Act::engine:
      random_.pick(engines)->runtime().work(random_);
      return true;
    case Act::sink: {
      const auto place = sink_.pending.begin() + static_cast<std::ptrdiff_t>(random_.pick(calls));
      Pending call = std::move(*place);
      sink_.pending.erase(place);
      say("the sink answers " + call.key + " to " + call.node);
      sink_.answer(std::move(call), now_);
      return true;
    }
    case Act::rumour: {
      const Rumour rumour = random_.take(rumours_);
      const Node* node = find(rumour.node);
      if (node != nullptr && !node->frozen_until && random_.chance(800)) rumour.tell();
      return true;
    }
    case Act::submit:
      return submit_one();
  }
  return false;
}

Verdict World::run() {
  const int steps = random_.between(300, 2'500);
  for (int i = 0; i < steps && !violation_; ++i) {
    if (i % 64 == 63 && all_over()) break;
    if (random_.chance(faults_per_mille_)) fault();
    for (std::size_t n = nodes_.size(); n-- > 0;) {
      if (nodes_[n]->drained) stop_node(nodes_[n]->name, "orderly end");
    }
    if (static_cast<int>(nodes_.size()) < nodes_max_ && random_.chance(20)) start_node();
    const bool busy = step(false);
    if (!busy || random_.chance(60)) {
      const int kind = random_.below(10);
      pass_time(Millis{kind < 6   ? random_.between(1, 10)
                       : kind < 9 ? random_.between(10, 150)
                                  : random_.between(150, 1'000)});
    }
  }
  if (!violation_) heal();
  if (!violation_) check_end();
  while (!nodes_.empty()) stop_node(nodes_.back()->name, "the end");
  sights_.schedules = 1;
  sights_.fenced = database_.fenced();
  return {violation_, sights_, std::move(trace_)};
}

Sights& Sights::operator+=(const Sights& other) {
  for (const auto& [name, member] : kSights) this->*member += other.*member;
  return *this;
}

std::string Sights::text() const {
  std::string text;
  for (const auto& [name, member] : kSights) {
    text += (text.empty() ? "" : ", ") + std::to_string(this->*member) + " " + name;
  }
  return text;
}

std::vector<std::string> Sights::missing() const {
  std::vector<std::string> missing;
  for (const auto& [name, member] : kSights) {
    if (this->*member == 0) missing.emplace_back(name);
  }
  return missing;
}

Verdict simulate(const Options& options) {
  World world(options);
  return world.run();
}

}  // namespace sequential::simulation
