#include "process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "sequential/base/check.h"
#include "sequential/base/error.h"
#include "sequential/base/fault.h"
#include "sequential/base/json_text.h"
#include "sequential/engine/protocol.h"

namespace sequential::engine::pool {
namespace {

constexpr int kReapPollMs = 1;

std::string errno_text(int error) {
  // The thread-safe form; g++ always has the GNU one under _GNU_SOURCE.
  char buffer[128];
  return ::strerror_r(error, buffer, sizeof buffer);
}

Error cannot_start(const std::string& path, const std::string& why) {
  return make_error(Errc::unavailable, "cannot start the engine " + path + ": " + why);
}

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

  // 0 and 1 are /dev/null, 2 the pipe, 3 the socket, nothing else is open, not even descriptors
  // that some library opened without O_CLOEXEC.
  bool set_descriptors(int stderr_fd, int socket_fd) {
    using protocol::kSocketFd;
    return ::posix_spawn_file_actions_addopen(&actions_, 0, "/dev/null", O_RDONLY, 0) == 0 &&
           ::posix_spawn_file_actions_addopen(&actions_, 1, "/dev/null", O_WRONLY, 0) == 0 &&
           ::posix_spawn_file_actions_adddup2(&actions_, stderr_fd, 2) == 0 &&
           ::posix_spawn_file_actions_adddup2(&actions_, socket_fd, kSocketFd) == 0 &&
           ::posix_spawn_file_actions_addclosefrom_np(&actions_, kSocketFd + 1) == 0;
  }
  // Signals as a fresh program has them, and a process group of its own: a Ctrl-C on the terminal
  // is for the broker, which lets its engines finish.
  bool set_signals() {
    sigset_t none;
    sigset_t all;
    ::sigemptyset(&none);
    ::sigfillset(&all);
    const auto flags =
        static_cast<short>(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    return ::posix_spawnattr_setsigmask(&attributes_, &none) == 0 &&
           ::posix_spawnattr_setsigdefault(&attributes_, &all) == 0 &&
           ::posix_spawnattr_setpgroup(&attributes_, 0) == 0 &&
           ::posix_spawnattr_setflags(&attributes_, flags) == 0;
  }
  int spawn(pid_t& pid, const std::string& path) {
    std::string argument = path;
    char* const argv[] = {argument.data(), nullptr};
    char* const environment[] = {nullptr};
    return ::posix_spawn(&pid, path.c_str(), &actions_, &attributes_, argv, environment);
  }

 private:
  posix_spawn_file_actions_t actions_{};
  posix_spawnattr_t attributes_{};
};

// Descriptors of ours must not lie where the child's 0 … 3 go: dup2 of one would overwrite another.
Fd above_child_fds(Fd fd) {
  if (fd.get() > protocol::kSocketFd) return fd;
  return Fd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, protocol::kSocketFd + 1));
}

std::optional<std::string> read_small_file(const std::string& path) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return std::nullopt;
  char buffer[1'024];
  const ssize_t count = ::read(file.get(), buffer, sizeof buffer);
  if (count <= 0) return std::nullopt;
  return std::string(buffer, static_cast<std::size_t>(count));
}

}  // namespace

Fd& Fd::operator=(Fd&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = other.release();
  }
  return *this;
}
Fd::~Fd() {
  if (fd_ >= 0) ::close(fd_);
}

std::string describe(const ExitStatus& status) {
  if (!status.known) return "exit status unknown";
  if (status.signal == 0) return "exit status " + std::to_string(status.code);
  const char* const name = ::sigdescr_np(status.signal);
  return "signal " + std::to_string(status.signal) +
         (name == nullptr ? "" : " (" + std::string(name) + ")");
}

Result<Process::Started> Process::start(const std::string& path) {
  if (::access(path.c_str(), X_OK) != 0) return cannot_start(path, errno_text(errno));
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return cannot_start(path, errno_text(errno));
  }
  Fd ours(ends[0]);
  const Fd theirs = above_child_fds(Fd(ends[1]));
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return cannot_start(path, errno_text(errno));
  Fd stderr_read(ends[0]);
  const Fd stderr_write = above_child_fds(Fd(ends[1]));
  if (theirs.get() < 0 || stderr_write.get() < 0 ||
      ::fcntl(ours.get(), F_SETFL, O_RDWR | O_NONBLOCK) != 0) {
    return cannot_start(path, errno_text(errno));
  }

  SpawnPlan plan;
  pid_t pid = 0;
  if (!plan.set_descriptors(stderr_write.get(), theirs.get()) || !plan.set_signals()) {
    return cannot_start(path, "no memory");
  }
  if (const int error = plan.spawn(pid, path); error != 0) {
    return cannot_start(path, errno_text(error));
  }
  FAULT_POINT("runner.after_fork");
  return Started{std::make_unique<Process>(pid, std::move(stderr_read)), std::move(ours)};
}

Process::~Process() {
  constexpr Millis kReapMax{2'000};
  kill();
  static_cast<void>(wait_exit(system_clock().monotonic() + kReapMax));
}

void Process::kill() {
  const std::lock_guard lock(mutex_);
  if (!status_) ::kill(pid_, SIGKILL);
}

std::optional<ExitStatus> Process::try_reap() {
  const std::lock_guard lock(mutex_);
  if (status_) return status_;
  int raw = 0;
  const pid_t reaped = ::waitpid(pid_, &raw, WNOHANG);
  if (reaped == 0 || (reaped < 0 && errno == EINTR)) return std::nullopt;
  ExitStatus status;
  if (reaped == pid_) {
    status.known = true;
    if (WIFSIGNALED(raw)) status.signal = WTERMSIG(raw);
    if (WIFEXITED(raw)) status.code = WEXITSTATUS(raw);
  }
  status_ = status;
  return status_;
}

std::optional<ExitStatus> Process::wait_exit(MonoTime deadline) {
  for (;;) {
    if (auto status = try_reap()) return status;
    if (system_clock().monotonic() >= deadline) return std::nullopt;
    ::poll(nullptr, 0, kReapPollMs);
  }
}

std::optional<std::int64_t> Process::cpu_ms() const {
  const std::string pid = std::to_string(pid_);
  const auto text = read_small_file("/proc/" + pid + "/task/" + pid + "/stat");
  if (!text) return std::nullopt;
  // The name, in brackets, may hold anything; behind it come state and 10 numbers before utime.
  const std::size_t name_end = text->rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  unsigned long long user = 0;
  unsigned long long system = 0;
  if (std::sscanf(text->c_str() + name_end + 1,
                  " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &system) != 2) {
    return std::nullopt;
  }
  static const long ticks_per_second = ::sysconf(_SC_CLK_TCK);
  if (ticks_per_second <= 0) return std::nullopt;
  return static_cast<std::int64_t>(user + system) * 1'000 / ticks_per_second;
}

std::int64_t Process::rss_bytes() const {
  {
    const std::lock_guard lock(mutex_);
    if (status_) return 0;  // the pid may be another's
  }
  const auto text = read_small_file("/proc/" + std::to_string(pid_) + "/statm");
  long long pages = 0;
  if (!text || std::sscanf(text->c_str(), "%*d %lld", &pages) != 1) return 0;
  static const long page_bytes = ::sysconf(_SC_PAGESIZE);
  return pages * page_bytes;
}

std::string Process::last_words() {
  constexpr int kReadsMax = 256;  // a pipeful is 64 KiB
  std::string words;
  char buffer[4'096];
  for (int i = 0; i < kReadsMax; ++i) {
    const ssize_t count = ::read(stderr_.get(), buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    words.append(buffer, static_cast<std::size_t>(count));
    if (words.size() > 2 * kLastWordsBytes) words.erase(0, words.size() - kLastWordsBytes);
  }
  if (words.size() > kLastWordsBytes) words.erase(0, words.size() - kLastWordsBytes);
  while (!words.empty() && words.back() == '\n') words.pop_back();
  // It goes into logs: control characters must not reach a terminal.
  for (char& c : words) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  return clip_utf8(words, kLastWordsBytes);
}

}  // namespace sequential::engine::pool
