// World: what goes wrong.

#include <utility>
#include <vector>

#include "world.h"

namespace sequential::simulation {

// Mostly one that is in the middle of something.
Node* World::pick_node() {
  auto able = awake();
  std::vector<Node*> busy;
  for (Node* node : able) {
    if (!node->processor().idle()) busy.push_back(node);
  }
  if (!busy.empty() && random_.chance(700)) return random_.pick(busy);
  return able.empty() ? nullptr : random_.pick(able);
}

void World::fault() {
  const Fault fault = random_.pick(faults_);
  Node* const node = pick_node();
  if (node == nullptr) return;
  switch (fault) {
    case Fault::kill:
      ++sights_.kills;
      return stop_node(node->name, "kill");
    case Fault::freeze: {
      const int length = random_.between(50, 7'000);
      node->frozen_until = now_ + Millis{length};
      ++sights_.freezes;
      return say("freeze " + node->name + " for " + std::to_string(length));
    }
    case Fault::drain:
      if (node->draining) return;
      ++sights_.drains;
      say("drain " + node->name);
      return node->drain(Millis{random_.between(0, 3'000)});
    case Fault::kill_engine:
      say("the engine of " + node->name + " dies");
      return node->runtime().kill_engine(random_);
    case Fault::evict:
      return node->runtime().evict(random_);
    case Fault::engine_full:
      return node->runtime().refuse_next();
    case Fault::lose_hint:
      if (hints_.empty()) return;
      random_.take(hints_);
      ++sights_.hints_lost;
      return say("a hint is lost");
    case Fault::silence:
      if (sink_.pending.empty()) return;
      if (auto& call = random_.pick(sink_.pending); !std::exchange(call.silent, true)) {
        ++sink_.ledger[call.key].late;
        say("the sink will not answer " + call.key);
      }
      return;
    case Fault::refuse:
    case Fault::unknown_commit:
    case Fault::crash_database:
      return fault_of_database(fault);
    case Fault::pause:
    case Fault::resume:
    case Fault::cancel:
      return fault_of_person(fault, *node);
    case Fault::count:
      return;
  }
}

void World::fault_of_database(Fault fault) {
  if (fault == Fault::crash_database) {
    if (database_.would_lose_something()) ++sights_.crashes_with_loss;
    say("the database crashes");
    database_.crash();
    check_database();
  }
  // A crash cuts every connection, the others one.
  Wire cut;
  if (fault == Fault::crash_database) {
    cut = std::exchange(wire_, {});
  } else if (!wire_.empty()) {
    cut.push_back(random_.take(wire_));
  }
  for (const auto& operation : cut) {
    const Node* node = find(operation->node);
    if (node != nullptr && node->frozen_until) {  // it will hear of it when it is back
      wire_.push_back(operation);
      continue;
    }
    if (fault == Fault::unknown_commit && !operation->applied) apply(*operation);
    ++(operation->applied ? sights_.unknown_commits : sights_.unavailable);
    say("unavailable: " + operation->what + " of " + operation->node +
        (operation->applied ? ", though applied" : ""));
    if (operation->refuse) operation->refuse();
  }
}

void World::fault_of_person(Fault fault, Node& node) {
  if (database_.runs().empty()) return;
  auto run = database_.runs().begin();
  std::advance(run, random_.below(static_cast<int>(database_.runs().size())));
  const std::string what = " run " + std::to_string(run->first) + " at " + node.name;
  if (fault == Fault::pause) {
    say("pause" + what);
    node.pause(run->second.id);
  } else if (fault == Fault::resume || random_.chance(700)) {
    say("resume" + what);
    node.resume(run->second.id);
  } else {
    say("cancel" + what);
    node.cancel(run->second.id);
  }
}

}  // namespace sequential::simulation
