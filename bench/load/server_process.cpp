#include "server_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

namespace sequential::bench {
namespace {

constexpr Millis kStartWithin{30'000};
constexpr Millis kStopWithin{30'000};
constexpr Millis kLookAgain{5};

std::vector<std::string> arguments_of(const ServerCommand& command) {
  std::vector<std::string> arguments{command.program, "serve"};
  const auto set = [&arguments](std::string setting) {
    arguments.emplace_back("--set");
    arguments.push_back(std::move(setting));
  };
  set("server.port=0");
  set("store.kind=" + command.store);
  set("store.path=" + command.data_dir + "/sequential.db");  // the keys are kept beside it
  for (const auto& setting : command.settings) set(setting);
  return arguments;
}

// In the child, between fork and exec: only calls that are safe there.
[[noreturn]] void become_server(char* const* arguments, int out, int log, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(127);
  ::dup2(out, STDOUT_FILENO);
  ::dup2(log, STDERR_FILENO);
  ::execv(arguments[0], arguments);
  ::_exit(127);
}

}  // namespace

void pause_for(Millis time) { ::poll(nullptr, 0, static_cast<int>(time.count())); }

ServerProcess::ServerProcess(ServerProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      stdout_fd_(std::exchange(other.stdout_fd_, -1)),
      log_(std::move(other.log_)),
      endpoint_(std::move(other.endpoint_)),
      commanded_at_(other.commanded_at_),
      until_listening_(other.until_listening_) {}

Result<ServerProcess> ServerProcess::start(const ServerCommand& command) {
  const Clock& clock = system_clock();
  ServerProcess server;
  server.log_ = command.data_dir + "/server.log";
  const auto arguments = arguments_of(command);
  std::vector<char*> pointers;
  for (const auto& argument : arguments) pointers.push_back(const_cast<char*>(argument.c_str()));
  pointers.push_back(nullptr);
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) return Error{Errc::internal, "cannot make a pipe"};
  server.stdout_fd_ = pipe[0];
  const int log = ::open(server.log_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

  const pid_t parent = ::getpid();
  server.commanded_at_ = clock.now();
  const MonoTime begun = clock.monotonic();
  server.pid_ = ::fork();
  if (server.pid_ == 0) become_server(pointers.data(), pipe[1], log, parent);
  ::close(pipe[1]);
  if (log >= 0) ::close(log);
  if (server.pid_ < 0) return Error{Errc::internal, "cannot make a process"};

  constexpr std::string_view kMark = "listening on ";
  for (;;) {
    SEQUENTIAL_TRY(const auto line, server.read_line(begun + kStartWithin));
    const auto at = line.find(kMark);
    if (at == std::string::npos) continue;
    server.until_listening_ = std::chrono::duration_cast<Millis>(clock.monotonic() - begun);
    SEQUENTIAL_TRY(server.endpoint_, parse_url(std::string_view(line).substr(at + kMark.size())));
    return server;
  }
}

Result<std::string> ServerProcess::read_line(MonoTime deadline) {
  std::string line;
  for (;;) {
    const auto left = std::chrono::duration_cast<Millis>(deadline - system_clock().monotonic());
    pollfd waiting{stdout_fd_, POLLIN, 0};
    const int ready =
        ::poll(&waiting, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
    if (ready < 0 && errno == EINTR) continue;
    char letter = 0;
    if (ready <= 0 || ::read(stdout_fd_, &letter, 1) != 1) {
      return Error{Errc::unavailable, "the server did not start; its log is " + log_};
    }
    if (letter == '\n') return line;
    line += letter;
  }
}

Result<void> ServerProcess::stop() {
  if (pid_ < 0) return success();
  ::kill(pid_, SIGTERM);
  const MonoTime deadline = system_clock().monotonic() + kStopWithin;
  int status = 0;
  while (::waitpid(pid_, &status, WNOHANG) == 0) {
    if (system_clock().monotonic() >= deadline) {
      kill_now();
      return Error{Errc::unavailable, "the server did not stop; its log is " + log_};
    }
    pause_for(kLookAgain);
  }
  pid_ = -1;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return success();
  return Error{Errc::unavailable, "the server ended with wait status " + std::to_string(status) +
                                      "; its log is " + log_};
}

void ServerProcess::kill_now() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  if (stdout_fd_ >= 0) ::close(std::exchange(stdout_fd_, -1));
}

}  // namespace sequential::bench
