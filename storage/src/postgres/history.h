#pragma once
// Notices that the database went back in time: a standby that lacked the last commits was promoted,
// or a backup was put in its place (docs/decisions/0018-database-went-back.md).
//
// Whatever happens to it, PostgreSQL keeps a prefix of what it wrote. So if the newest of what it
// acknowledged is still there, all before it is. To know the newest:
// - each node has a row in `meta`, its mark, and raises it within a second of whatever was
//   acknowledged to it. Every node remembers its own mark and those that it saw of others;
// - what was acknowledged to this node since its newest mark it remembers one by one: witnesses.
// Both are looked for on every new connection before it is used, and every second.
//
// Threads: any.

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "postgres/connection.h"
#include "sequential/base/clock.h"
#include "sequential/base/error.h"

namespace sequential::storage::postgres {

// Something that was committed durably and acknowledged, and what a database that kept it shows
// ever after (unless all runs were cleared, or its run was removed).
struct Witness {
  enum class Kind : int {
    run,       // a task run `id`, created at `number`
    end,       // of the stack run `id`, by the transition `token`
    attempt,   // of the stack run `id` under the epoch `number`, ended by the transition `token`
    claim,     // of the stack run `id`, which then has the epoch `number` or a higher one
    ids,       // stack run ids up to `id` are given out
    function,  // a task function `id`, published by the transition `token`
  };
  // `of`: the task run it belongs to, 0: none. Once that run is removed, it is not expected.
  Witness(Kind what, std::int64_t which, std::int64_t counted, std::int64_t by, std::int64_t of)
      : kind(what), id(which), number(counted), token(by), run(of) {}
  Kind kind;
  std::int64_t id, number, token, run;
};

class History {
 public:
  // `strict` off: losses are told, and accepted.
  History(const std::string& schema, bool strict, const Clock& clock);

  // What is there now must be there from now on. Once, when the schema is there.
  std::optional<DbError> begin(Connection& connection);

  // To be told before an acknowledgement is passed on.
  void acknowledged(const Witness& witness);
  void acknowledged();  // of something that leaves nothing unmistakable to look for

  // Looks whether all is there. An error: the connection is of no use, or not yet. A loss is no
  // error of the connection.
  std::optional<DbError> look(Connection& connection, bool is_new);
  // The same, every second; before it, raises this node's mark if there is something to mark.
  std::optional<DbError> tick(Connection& connection);

  // The database lacks what it had acknowledged: nothing may be changed any more.
  bool gone_back() const { return gone_back_.load(std::memory_order_acquire); }
  Error why() const;

  // Counts the failovers seen, and the losses accepted. What was connected before the newest may be
  // connected to what was the primary before it.
  std::uint64_t era() const { return era_.load(std::memory_order_acquire); }

 private:
  using Marks = std::map<std::string, std::int64_t>;  // by node: grow only
  struct Known {
    std::int64_t number = 0;  // in the order of acknowledgement
    Witness witness;
  };
  // What must be there, taken before the database is asked: meanwhile more is acknowledged.
  struct Expected {
    std::vector<Known> witnesses;
    Marks marks;
    std::int64_t acknowledged = 0, cleared = 0, incident = 0;
    std::int64_t losses = 0;
    bool tables_gone = false;
  };
  struct Found {  // in the database
    std::int64_t now = 0, cleared = 0, incident = 0;
    Marks marks;
    std::optional<std::size_t> missing;  // the first witness that is not there
    std::string timeline, position;      // of the write-ahead log, where the server tells
    bool tables_gone = false;            // and so is all of the above
  };

  Expected expected() const;
  Answer<Found> ask(Connection& connection, const std::vector<Known>& witnesses);
  // Makes this node's row, or renews it, and answers with its value.
  Answer<Rows> enter(Connection& connection);
  std::optional<DbError> raise_mark(Connection& connection, std::int64_t& through,
                                    std::int64_t& losses);
  // What the database lacks, for a person; empty: nothing.
  std::string lacking(const Expected& expected, const Found& found) const;
  // False: a loss was told and accepted after `expected` was taken, so that is no longer what must
  // be there.
  bool lost(Connection& connection, const Expected& expected, const Found& found,
            const std::string& what);
  void tell_others(Connection& connection);
  std::optional<DbError> all_there(const Expected& expected, const Found& found, bool is_new);
  void learn_marks(const Found& found, MonoTime now);  // under mutex_
  void forget(std::int64_t through);                   // under mutex_

  const std::string meta_, schema_, self_;
  const bool strict_;
  const Clock& clock_;
  std::atomic<bool> begun_{false};
  std::atomic<bool> gone_back_{false};
  std::atomic<bool> tells_position_{true};
  std::atomic<std::uint64_t> era_{0};

  mutable std::mutex mutex_;
  // All guarded by mutex_
  std::deque<Known> witnesses_;
  std::int64_t acknowledged_ = 0;  // so many in all
  std::int64_t marked_ = 0;        // of them, covered by a mark that is known to be there
  MonoTime marked_at_{};
  Marks marks_;
  std::int64_t cleared_ = 0, incident_ = 0;
  std::int64_t losses_ = 0;   // told and accepted: strict is off
  bool tables_gone_ = false;  // the newest of them, and they are not back
  std::string timeline_, position_;
  MonoTime others_active_until_{};
  MonoTime settled_at_{};
  Error why_;
};

}  // namespace sequential::storage::postgres
