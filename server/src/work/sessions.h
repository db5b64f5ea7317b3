#pragma once
// Sessions: what this node remembers of the runs it is working on, so that a warm resume needs no
// read of the database. A session is a cache of recorded facts; dropping one costs a read.
//
// Threads: any; every method locks.

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "sequential/base/ids.h"
#include "sequential/engine/runtime.h"
#include "sequential/storage/store.h"

namespace sequential::server {

struct Session {
  StackRunId root;
  std::shared_ptr<const engine::TaskCode> code;
  std::string input, seed;
  std::int64_t started_at_ms = 0;
  std::int64_t call_count = 0;         // calls in the store
  std::int64_t log_count = 0;          // log entries in the store
  std::int64_t delivered_through = 0;  // outcomes that committed slices have seen
  std::int64_t epoch = 0;  // of the claim under which the last slice was committed here; 0: none
  bool alone = false;                  // it brought an engine down before
};

class Sessions {
 public:
  explicit Sessions(std::size_t sessions_max) : sessions_max_(sessions_max) {}

  // A copy of the session and the outcomes recorded here after its delivered_through, without gaps.
  struct View {
    Session session;
    std::vector<storage::Outcome> outcomes;
  };
  std::optional<View> view(TaskRunId run);

  // Puts or replaces. Answers the run that had to go to make room, if any (forget it in the
  // engine).
  std::optional<TaskRunId> put(TaskRunId run, Session session);

  // Keeps a recorded outcome for the next slice; ignored without a session.
  void add_outcome(TaskRunId run, storage::Outcome outcome);

  // A slice was committed.
  void advance(const storage::Grant& root, std::int64_t delivered_through, std::size_t calls,
               std::size_t logs);

  void drop(TaskRunId run);
  std::size_t size() const;

 private:
  struct Entry {
    Session session;
    std::map<std::int64_t, storage::Outcome> fresh;  // by delivered_as
    std::list<TaskRunId>::iterator place;
  };
  const std::size_t sessions_max_;
  mutable std::mutex mutex_;
  std::unordered_map<TaskRunId, Entry> entries_;  // guarded by mutex_
  std::list<TaskRunId> recent_;                   // guarded by mutex_, most recent first
};

}  // namespace sequential::server
