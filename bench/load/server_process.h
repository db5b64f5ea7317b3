#pragma once
// A server of our own to measure: started on a free port and a data folder of its own, stopped or
// killed by its process id, and never outliving this program.
//
// Threads:  one.
// Blocking: start waits for the line that says where it listens; stop waits for its end.
// Errors:   unavailable (does not start, does not stop cleanly; the message names its log).

#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

#include "http.h"
#include "sequential/base/clock.h"
#include "sequential/base/error.h"

namespace sequential::bench {

struct ServerCommand {
  std::string program;                // sequential-runner
  std::string store = "sqlite";       // store.kind
  std::string data_dir;               // holds the store and server.log
  std::vector<std::string> settings;  // more name=value
};

class ServerProcess {
 public:
  static Result<ServerProcess> start(const ServerCommand& command);
  ServerProcess(ServerProcess&& other) noexcept;
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;
  ServerProcess& operator=(ServerProcess&&) = delete;
  ~ServerProcess() { kill_now(); }

  // SIGTERM; an error unless it ends with status 0 in time.
  Result<void> stop();
  // SIGKILL, and waits until the process is gone.
  void kill_now();

  pid_t pid() const { return pid_; }
  const Endpoint& endpoint() const { return endpoint_; }
  WallTime commanded_at() const { return commanded_at_; }  // just before the process was made
  Millis until_listening() const { return until_listening_; }

 private:
  ServerProcess() = default;
  Result<std::string> read_line(MonoTime deadline);

  pid_t pid_ = -1;
  int stdout_fd_ = -1;
  std::string log_;
  Endpoint endpoint_;
  WallTime commanded_at_;
  Millis until_listening_{0};
};

// Waits without using the processor.
void pause_for(Millis time);

}  // namespace sequential::bench
