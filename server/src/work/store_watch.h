#pragma once
// StoreWatch: asks the store now and then what keeps it from cleaning up, and how far its clock is
// from ours. Says so in the log when it becomes too much, and when that is over.
//
// Threads: `look` by one coroutine at a time; `seen` any.

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "async.h"
#include "sequential/base/clock.h"
#include "sequential/base/error.h"
#include "sequential/base/log.h"
#include "sequential/storage/store.h"

namespace sequential::server {

struct StoreWatchOptions {
  std::int64_t xmin_age_warn = 1'000'000;
  std::int64_t log_bytes_warn = 256ll << 20;
  // Half of what chain requests between nodes allow.
  Millis clock_warn{30'000};
};

class StoreWatch {
 public:
  StoreWatch(storage::Store& store, const Clock& clock, StoreWatchOptions options)
      : store_(store), clock_(clock), options_(options) {}

  struct Seen {
    std::int64_t looks = 0;  // so far: whether this is news
    storage::Upkeep upkeep;
    Millis store_ahead{0};              // of our clock
    std::vector<std::string> warnings;  // what is too much, in short
  };
  Seen seen() const {
    const std::lock_guard lock(mutex_);
    return seen_;
  }

  net::awaitable<void> look() {
    auto start = [this](auto done) { store_.upkeep(std::move(done)); };
    auto found = co_await completes<Result<storage::Upkeep>>(std::move(start));
    if (found.has_error()) co_return;  // whoever needs the store says so
    Seen seen;
    seen.upkeep = std::move(found).value();
    if (seen.upkeep.now.ms != 0) seen.store_ahead = seen.upkeep.now - clock_.now();
    judge(seen);
    const std::lock_guard lock(mutex_);
    seen.looks = seen_.looks + 1;
    seen_ = std::move(seen);
  }

 private:
  void judge(Seen& seen) {
    const auto& u = seen.upkeep;
    if (u.oldest_xmin_age > options_.xmin_age_warn) seen.warnings.emplace_back("old_snapshot");
    if (is_new(old_snapshot_, u.oldest_xmin_age > options_.xmin_age_warn, "an old snapshot")) {
      log_warn(
          "an old snapshot keeps the database from cleaning up, and work is found ever more "
          "slowly: end what holds it (a long transaction, a backup, a replication slot)",
          {{"held_by", u.held_by}, {"oldest_xmin_age", u.oldest_xmin_age}});
    }
    if (u.log_bytes > options_.log_bytes_warn) seen.warnings.emplace_back("long_log");
    if (is_new(long_log_, u.log_bytes > options_.log_bytes_warn, "a long write-ahead log")) {
      log_warn(
          "a reader of the database file keeps its write-ahead log from being folded in, and it "
          "grows: end it (a backup, a shell)",
          {{"log_bytes", u.log_bytes}});
    }
    const bool skewed = std::abs(seen.store_ahead.count()) > options_.clock_warn.count();
    if (skewed) seen.warnings.emplace_back("clock_skew");
    if (is_new(skewed_, skewed, "a clock that differs from the database's")) {
      log_warn(
          "this node's clock differs from the database's. Leases and timers go by the database's; "
          "but chain requests between nodes are refused when their clocks differ by a minute: set "
          "all by NTP",
          {{"database_ahead_ms", seen.store_ahead.count()}});
    }
  }
  static bool is_new(bool& was, bool is, const char* what) {
    if (was && !is) log_info("no longer: " + std::string(what));
    return !std::exchange(was, is) && is;
  }

  storage::Store& store_;
  const Clock& clock_;
  const StoreWatchOptions options_;
  bool old_snapshot_ = false, long_log_ = false, skewed_ = false;  // of the newest look
  mutable std::mutex mutex_;
  Seen seen_;  // guarded by mutex_
};

}  // namespace sequential::server
