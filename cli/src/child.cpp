#include "child.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <string>
#include <utility>

#include "interrupt.h"
#include "sequential/base/check.h"

extern char** environ;

namespace sequential::cli {
namespace {

constexpr Millis kLookAgain{100};  // at Ctrl-C, should its signal come between look and wait
constexpr Millis kReapPause{2};

Error cannot_run(const ChildRequest& request, int error) {
  return {Errc::config_invalid,
          "Cannot run " + request.program.string() + ": " + std::strerror(error)};
}

struct Pipe {
  int read = -1, write = -1;
  Pipe() = default;
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  ~Pipe() {
    close(read);
    close(write);
  }
  bool open() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return false;
    read = ends[0];
    write = ends[1];
    return true;
  }
  static void close(int& end) {
    if (end >= 0) ::close(end);
    end = -1;
  }
};

// What posix_spawn is told, freed whatever happens.
class SpawnPlan {
 public:
  SpawnPlan() {
    SEQUENTIAL_CHECK(::posix_spawn_file_actions_init(&actions_) == 0);
    SEQUENTIAL_CHECK(::posix_spawnattr_init(&attributes_) == 0);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;
  ~SpawnPlan() {
    ::posix_spawn_file_actions_destroy(&actions_);
    ::posix_spawnattr_destroy(&attributes_);
  }

  // In a process group of its own, so that what it starts can be ended with it.
  int spawn(const ChildRequest& request, const Pipe& output, const Pipe& errors, pid_t& pid) {
    sigset_t none, all;
    ::sigemptyset(&none);
    ::sigfillset(&all);
    const auto flags =
        static_cast<short>(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    const std::string folder = request.folder.string(), program = request.program.string();
    const bool planned =
        ::posix_spawnattr_setsigmask(&attributes_, &none) == 0 &&
        ::posix_spawnattr_setsigdefault(&attributes_, &all) == 0 &&
        ::posix_spawnattr_setpgroup(&attributes_, 0) == 0 &&
        ::posix_spawnattr_setflags(&attributes_, flags) == 0 &&
        ::posix_spawn_file_actions_addopen(&actions_, 0, "/dev/null", O_RDONLY, 0) == 0 &&
        ::posix_spawn_file_actions_adddup2(&actions_, output.write, 1) == 0 &&
        ::posix_spawn_file_actions_adddup2(&actions_, errors.write, 2) == 0 &&
        ::posix_spawn_file_actions_addchdir_np(&actions_, folder.c_str()) == 0;
    if (!planned) return ENOMEM;
    std::vector<std::string> words = {program};
    words.insert(words.end(), request.arguments.begin(), request.arguments.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    return ::posix_spawn(&pid, program.c_str(), &actions_, &attributes_, argv.data(), environ);
  }

 private:
  posix_spawn_file_actions_t actions_{};
  posix_spawnattr_t attributes_{};
};

class Child {
 public:
  Child(const ChildRequest& request, pid_t pid)
      : request_(request), pid_(pid), ends_at_(system_clock().monotonic() + request.time_max) {}

  // Reads both ends until the program has closed them, then waits for its end.
  ChildEnd watch(Pipe& output, Pipe& errors) {
    ChildEnd end;
    while (going() && (output.read >= 0 || errors.read >= 0)) {
      std::array<pollfd, 2> ready = {pollfd{output.read, POLLIN, 0},
                                     pollfd{errors.read, POLLIN, 0}};
      const auto wait = std::min(time_left(), kLookAgain);
      if (::poll(ready.data(), ready.size(), static_cast<int>(wait.count())) <= 0) continue;
      if (ready[0].revents != 0) take(output.read, end.output, request_.output_bytes_max, true);
      if (ready[1].revents != 0) take(errors.read, end.errors, request_.errors_bytes_max, false);
    }
    int status = 0;
    pid_t ended = 0;
    while (going() && (ended = ::waitpid(pid_, &status, WNOHANG)) == 0) {
      Interrupt::pause(kReapPause);
    }
    if (ended == pid_) {
      end.how = WIFEXITED(status) ? ChildEnd::How::exited : ChildEnd::How::signalled;
      end.number = WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status);
      return end;
    }
    ::kill(-pid_, SIGKILL);
    ::waitpid(pid_, &status, 0);
    end.how = too_large_ ? ChildEnd::How::output_too_large : ChildEnd::How::timed_out;
    return end;
  }

 private:
  Millis time_left() const {
    const auto left = std::chrono::ceil<Millis>(ends_at_ - system_clock().monotonic());
    return std::max(left, Millis{0});
  }
  bool going() const { return !too_large_ && !Interrupt::requested() && time_left() > Millis{0}; }

  void take(int& end, std::string& text, std::size_t bytes_max, bool more_is_too_much) {
    std::array<char, 65'536> buffer;
    const ssize_t count = ::read(end, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) return;
    if (count <= 0) return Pipe::close(end);
    const auto got = static_cast<std::size_t>(count);
    text.append(buffer.data(), std::min(got, bytes_max - text.size()));
    too_large_ = too_large_ || (more_is_too_much && text.size() == bytes_max);
  }

  const ChildRequest& request_;
  const pid_t pid_;
  const MonoTime ends_at_;
  bool too_large_ = false;
};

}  // namespace

Result<ChildEnd> run_child(const ChildRequest& request) {
  Pipe output, errors;
  if (!output.open() || !errors.open()) return cannot_run(request, errno);
  ChildEnd end;
  bool interrupted = false;
  {
    const Interrupt interrupt;
    pid_t pid = -1;
    const int error = SpawnPlan().spawn(request, output, errors, pid);
    if (error != 0) return cannot_run(request, error);
    Pipe::close(output.write);
    Pipe::close(errors.write);
    end = Child(request, pid).watch(output, errors);
    interrupted = Interrupt::requested();
  }
  if (interrupted) std::raise(SIGINT);  // as if we had never stood between
  return end;
}

}  // namespace sequential::cli
