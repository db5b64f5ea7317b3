#pragma once
// One engine process: started with nothing but its socket, killed and reaped.
//
// Threads:  any; `kill` and the reaping exclude each other, so a reused pid is never signalled.
// Blocking: `start` for the time of a vfork and exec, `wait_exit` until its deadline.
// Lifetime: the destructor kills and reaps what is left.

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "sequential/base/clock.h"
#include "sequential/base/error.h"

namespace sequential::engine::pool {

// A descriptor that closes itself.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(other.release()) {}
  Fd& operator=(Fd&& other) noexcept;
  ~Fd();
  int get() const { return fd_; }
  int release() {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }

 private:
  int fd_ = -1;
};

struct ExitStatus {
  bool known = false;  // false if the status went to somebody else (SIGCHLD ignored)
  int signal = 0;      // 0: it exited
  int code = 0;
};
// "exit status 1", "signal 6 (Aborted)".
std::string describe(const ExitStatus& status);

class Process {
 public:
  struct Started;
  // Errors: unavailable, naming the path and the cause.
  static Result<Started> start(const std::string& path);
  Process(pid_t pid, Fd stderr_end) : pid_(pid), stderr_(std::move(stderr_end)) {}
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process();

  int pid() const { return pid_; }
  void kill();
  // The status once the process has ended, after which its pid is free.
  std::optional<ExitStatus> try_reap();
  std::optional<ExitStatus> wait_exit(MonoTime deadline);

  // CPU time of its main thread; nullopt if the kernel does not say.
  std::optional<std::int64_t> cpu_ms() const;
  std::int64_t rss_bytes() const;  // 0 if it has ended

  // What it wrote to stderr, at most the first pipeful of its life, the last kLastWordsBytes of
  // that. The pipe does not block the writer, so an engine that floods it only loses what it wrote.
  std::string last_words();

 private:
  static constexpr std::size_t kLastWordsBytes = 2'048;

  const pid_t pid_;
  const Fd stderr_;
  mutable std::mutex mutex_;
  std::optional<ExitStatus> status_;  // guarded by mutex_
};

struct Process::Started {
  std::unique_ptr<Process> process;
  Fd socket;  // our end; does not block
};

}  // namespace sequential::engine::pool
