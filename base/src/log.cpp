// The asynchronous sink. spdlog's own answers to a full queue are to block or to lose the oldest
// lines; ours is to lose the newest, because the first lines of a storm tell its cause. So a line
// is queued only while fewer than kQueueMax are on their way, which spdlog's queue always holds.
#include "sequential/base/log.h"

#include <poll.h>
#include <spdlog/async_logger.h>
#include <spdlog/common.h>
#include <spdlog/details/log_msg.h>
#include <spdlog/details/thread_pool.h>
#include <spdlog/sinks/sink.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <climits>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <utility>

#include "log_format.h"
#include "sequential/base/clock.h"

namespace sequential {
namespace {

constexpr std::size_t kQueueMax = 8'192;
constexpr std::chrono::seconds kFlushWait{2};
constexpr int kPollMs = 100;

// What queue and sink share about the lines under way.
struct Traffic {
  void leave() {
    if (queued.fetch_sub(1) != 1) return;
    const std::lock_guard lock(mutex);
    drained.notify_all();
  }
  std::atomic<std::size_t> queued{0};
  std::atomic<bool> stopping{false};
  std::mutex mutex;
  std::condition_variable drained;
};

std::atomic<std::uint64_t> lines_dropped{0};
std::atomic<int> level_now{static_cast<int>(LogLevel::warn)};

// Writes all of `line` to stderr, in pieces that a pipe takes whole. Gives up, losing the rest, if
// logging is being stopped and nobody reads; otherwise waits for the reader.
void write_stderr(std::string_view line, const Traffic* traffic) {
  while (!line.empty()) {
    pollfd target{.fd = STDERR_FILENO, .events = POLLOUT, .revents = 0};
    const bool stopping = traffic != nullptr && traffic->stopping.load();
    if (::poll(&target, 1, stopping ? 0 : kPollMs) <= 0) {
      if (traffic == nullptr || stopping) return;
      continue;
    }
    const std::size_t piece = std::min<std::size_t>(line.size(), PIPE_BUF);
    const ssize_t written = ::write(STDERR_FILENO, line.data(), piece);
    if (written < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (written <= 0) return;  // Closed: there is nowhere to say so.
    line.remove_prefix(static_cast<std::size_t>(written));
  }
}

class StderrSink final : public spdlog::sinks::sink {
 public:
  StderrSink(std::shared_ptr<Traffic> traffic, bool json)
      : traffic_(std::move(traffic)), json_(json) {}

  void log(const spdlog::details::log_msg& line) override {
    write_stderr(std::string(line.payload.data(), line.payload.size()) + "\n", traffic_.get());
    report_drops();
    traffic_->leave();
  }
  void flush() override {}
  void set_pattern(const std::string&) override {}
  void set_formatter(std::unique_ptr<spdlog::formatter>) override {}

 private:
  void report_drops() {
    const std::uint64_t dropped = lines_dropped.load();
    if (dropped == reported_) return;
    const LogField count("dropped", dropped - reported_);
    reported_ = dropped;
    const WallTime now = system_clock().now();
    constexpr std::string_view message = "log lines dropped: the queue was full";
    const std::string line =
        json_ ? log_format::json_line(now, LogLevel::warn, message, {count})
              : log_format::text_line(now, LogLevel::warn, message, {count}, false);
    write_stderr(line + "\n", traffic_.get());
  }

  const std::shared_ptr<Traffic> traffic_;  // shared with the logging threads
  const bool json_;
  std::uint64_t reported_ = lines_dropped.load();  // only the sink's thread
};

struct Backend {
  bool json = false;
  bool colour = false;
  std::shared_ptr<Traffic> traffic = std::make_shared<Traffic>();
  std::shared_ptr<spdlog::details::thread_pool> pool;  // only start and stop touch it
  std::shared_ptr<spdlog::async_logger> logger;
};

// The one piece of global state: a process has one stderr. Never destroyed, so that a late line of
// a static destructor finds it.
struct Global {
  std::shared_mutex mutex;
  std::shared_ptr<Backend> backend;  // guarded by mutex
};
Global& global() {
  static Global* const instance = new Global;
  return *instance;
}

std::shared_ptr<Backend> current_backend() {
  Global& state = global();
  const std::shared_lock lock(state.mutex);
  return state.backend;
}

std::shared_ptr<Backend> exchange_backend(std::shared_ptr<Backend> next) {
  Global& state = global();
  const std::lock_guard lock(state.mutex);
  return std::exchange(state.backend, std::move(next));
}

void shut(const std::shared_ptr<Backend>& backend) {
  if (!backend) return;
  Traffic& traffic = *backend->traffic;
  {
    std::unique_lock lock(traffic.mutex);
    traffic.drained.wait_for(lock, kFlushWait, [&traffic] { return traffic.queued.load() == 0; });
  }
  traffic.stopping = true;  // What is left is lost if nobody reads; the thread ends either way.
  backend->pool.reset();    // Joins the thread; a logger on its way finds no pool and drops.
}

}  // namespace

void start_logging(LogLevel level, LogFormat format) {
  auto backend = std::make_shared<Backend>();
  const bool terminal = ::isatty(STDERR_FILENO) == 1;
  backend->json = format == LogFormat::json || (format == LogFormat::automatic && !terminal);
  backend->colour = terminal && std::getenv("NO_COLOR") == nullptr;
  backend->pool = std::make_shared<spdlog::details::thread_pool>(kQueueMax + 1, 1);
  backend->logger = std::make_shared<spdlog::async_logger>(
      "", std::make_shared<StderrSink>(backend->traffic, backend->json), backend->pool,
      spdlog::async_overflow_policy::block);
  // Only that logging has been stopped meanwhile; spdlog would write about it to stderr.
  backend->logger->set_error_handler([](const std::string&) { lines_dropped.fetch_add(1); });
  level_now = static_cast<int>(level);
  shut(exchange_backend(std::move(backend)));
}

void stop_logging() {
  const std::shared_ptr<Backend> last = exchange_backend(nullptr);
  if (!last) return;
  shut(last);
  level_now = static_cast<int>(LogLevel::warn);
}

std::uint64_t log_lines_dropped() noexcept { return lines_dropped.load(); }

bool log_enabled(LogLevel level) noexcept {
  return static_cast<int>(level) >= level_now.load(std::memory_order_relaxed);
}

void log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields) {
  if (!log_enabled(level)) return;
  const WallTime now = system_clock().now();
  const std::shared_ptr<Backend> backend = current_backend();
  if (!backend) {
    write_stderr(log_format::text_line(now, level, message, fields, false) + "\n", nullptr);
    return;
  }
  Traffic& traffic = *backend->traffic;
  if (traffic.queued.fetch_add(1) >= kQueueMax) {
    traffic.leave();
    lines_dropped.fetch_add(1);
    return;
  }
  const std::string line =
      backend->json ? log_format::json_line(now, level, message, fields)
                    : log_format::text_line(now, level, message, fields, backend->colour);
  // The levels are ours: to spdlog every line is one that it must pass on.
  backend->logger->log(spdlog::level::critical, spdlog::string_view_t(line));
}

}  // namespace sequential
