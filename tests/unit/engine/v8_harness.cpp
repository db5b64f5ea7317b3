#include "v8_harness.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <memory>

#include "sequential/base/bytes.h"

namespace sequential::engine::v8test {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kEngine = SEQUENTIAL_ENGINE_PATH;

// Descriptor 3 is the socket, nothing else but 0, 1, 2 is open; no environment.
pid_t spawn(int socket_fd, const std::vector<std::string>& arguments) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, socket_fd, protocol::kSocketFd);
  posix_spawn_file_actions_addclosefrom_np(&actions, protocol::kSocketFd + 1);
  std::vector<std::string> texts = {kEngine};
  texts.insert(texts.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& text : texts) argv.push_back(text.data());
  argv.push_back(nullptr);
  // Sanitizers read theirs from the environment; a release engine gets none.
  std::vector<char*> environment;
  for (char** entry = environ; under_sanitizer() && *entry != nullptr; ++entry) {
    if (std::string_view(*entry).find("SAN_OPTIONS=") != std::string_view::npos) {
      environment.push_back(*entry);
    }
  }
  environment.push_back(nullptr);
  pid_t pid = -1;
  const int error =
      ::posix_spawn(&pid, kEngine, &actions, nullptr, argv.data(), environment.data());
  posix_spawn_file_actions_destroy(&actions);
  EXPECT_EQ(error, 0) << kEngine;
  return pid;
}

}  // namespace

bool under_sanitizer() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return true;
#else
  return false;
#endif
}

protocol::Hello EngineOptions::default_hello() {
  protocol::Hello hello;
  hello.warm_bytes_max = 512ll << 20;
  hello.warm_runs_max = 1'000;
  return hello;
}

EngineProcess::EngineProcess(EngineOptions options) : reader_(options.hello.limits.frame_bytes) {
  int ends[2] = {-1, -1};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  // Above 3, so that dup2 onto 3 clears the close-on-exec flag.
  const int theirs = ::fcntl(ends[1], F_DUPFD_CLOEXEC, 10);
  ::close(ends[1]);
  fd_ = ::fcntl(ends[0], F_DUPFD_CLOEXEC, 10);
  ::close(ends[0]);
  pid_ = spawn(theirs, options.arguments);
  ::close(theirs);
  if (options.send_hello) send(options.hello);
  if (!options.send_hello || !options.expect_ready) return;
  const auto answer = receive();
  if (!answer || !std::holds_alternative<protocol::Ready>(*answer)) {
    ADD_FAILURE() << "the engine did not say Ready";
    return;
  }
  ready_ = std::get<protocol::Ready>(*answer);
}

EngineProcess::~EngineProcess() {
  close_socket();
  if (!exit_) kill();
}

void EngineProcess::close_socket() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

Exit EngineProcess::kill() {
  if (!exit_) ::kill(pid_, SIGKILL);
  return wait();
}

Exit EngineProcess::wait() {
  if (exit_) return *exit_;
  const auto deadline = Clock::now() + kPatience;
  int status = 0;
  while (::waitpid(pid_, &status, WNOHANG) == 0) {
    if (Clock::now() > deadline) {
      ADD_FAILURE() << "the engine does not end";
      ::kill(pid_, SIGKILL);
    }
    ::poll(nullptr, 0, 1);
  }
  Exit ended;
  if (WIFEXITED(status)) ended.code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) ended.signal = WTERMSIG(status);
  exit_ = ended;
  return ended;
}

std::int64_t EngineProcess::rss_bytes() const {
  const std::string path = "/proc/" + std::to_string(pid_) + "/statm";
  const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path.c_str(), "r"), std::fclose);
  long long pages = 0;
  if (!file || std::fscanf(file.get(), "%*d %lld", &pages) != 1) return 0;
  return pages * ::sysconf(_SC_PAGESIZE);
}

void EngineProcess::send_bytes(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return;  // the engine is gone; receive() tells
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
}

void EngineProcess::send(const protocol::ToEngine& message) {
  send_bytes(protocol::encode(message));
}

std::optional<protocol::FromEngine> EngineProcess::receive(std::chrono::milliseconds patience) {
  const auto deadline = Clock::now() + patience;
  for (;;) {
    const auto frame = reader_.next();
    if (frame.has_error()) {
      ADD_FAILURE() << frame.error().message;
      return std::nullopt;
    }
    if (frame.value()) {
      auto message = protocol::decode_from_engine(*frame.value());
      if (message.has_error()) {
        ADD_FAILURE() << message.error().message;
        return std::nullopt;
      }
      return std::move(message.value());
    }
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd poll_fd{.fd = fd_, .events = POLLIN, .revents = 0};
    if (left <= 0 || ::poll(&poll_fd, 1, static_cast<int>(left)) <= 0) return std::nullopt;
    const auto room = reader_.prepare(1 << 16);
    const ssize_t count = ::recv(fd_, room.data(), room.size(), 0);
    if (count <= 0) return std::nullopt;
    reader_.commit(static_cast<std::size_t>(count));
  }
}

protocol::SliceDone EngineProcess::slice(const protocol::Begin& begin,
                                         const std::vector<protocol::Journal>& pages) {
  send(begin);
  for (const protocol::Journal& page : pages) send(page);
  for (;;) {
    auto message = receive();
    if (!message) {
      ADD_FAILURE() << "no answer to a Begin";
      return {};
    }
    if (auto* const done = std::get_if<protocol::SliceDone>(&*message)) return std::move(*done);
    if (auto* const frame = std::get_if<protocol::Evicted>(&*message)) {
      evicted.insert(evicted.end(), frame->runs.begin(), frame->runs.end());
    } else if (auto* const report = std::get_if<protocol::Progress>(&*message)) {
      progress.push_back(*report);
    } else if (auto* const last = std::get_if<protocol::Dying>(&*message)) {
      dying = *last;
      return {};
    } else {
      ADD_FAILURE() << "an unexpected frame";
      return {};
    }
  }
}

protocol::Checked EngineProcess::check(const std::string& code, const std::string& name) {
  send(protocol::Check{.name = name, .code = code});
  const auto message = receive();
  if (message && std::holds_alternative<protocol::Checked>(*message)) {
    return std::get<protocol::Checked>(*message);
  }
  ADD_FAILURE() << "no answer to a Check";
  return {};
}

Answer echo(const protocol::CallFrame& call) {
  return {false, "{\"seq\":" + std::to_string(call.seq) + ",\"args\":" + call.args + "}"};
}

std::string to_text(const Record& record) {
  std::string text =
      "status " + std::to_string(static_cast<int>(record.status)) + "\n" + record.payload + "\n";
  for (const auto& call : record.calls) {
    text += "call " + std::to_string(call.seq) + " line " + std::to_string(call.source_line) + " " +
            call.service + "." + call.method + call.args + call.options + "\n";
  }
  for (const auto& log : record.logs) text += "log " + log.level + " " + log.message + "\n";
  return text;
}

protocol::Begin TestRun::cold_frame(bool with_code) const {
  protocol::Begin begin;
  begin.run = options_.id;
  begin.function_id = options_.function_id;
  begin.alone = options_.alone;
  begin.delivered_through = recorded_;
  begin.calls_recorded = static_cast<std::int64_t>(rows.size());
  begin.logs_recorded = static_cast<std::int64_t>(logs.size());
  begin.name = options_.name;
  begin.version = 3;
  if (with_code) begin.code = code_;
  begin.input = options_.input;
  begin.seed = options_.seed;
  begin.started_at_ms = options_.started_at_ms;
  return begin;
}

protocol::Begin TestRun::warm_frame() const {
  protocol::Begin begin = cold_frame(false);
  begin.cold = false;
  begin.delivered_from = delivered_;
  for (std::int64_t position = delivered_ + 1; position <= recorded_; ++position) {
    if (request && request->delivered_as == position) begin.outcomes.push_back(*request);
    for (const Row& row : rows) {
      if (row.outcome && row.outcome->delivered_as == position)
        begin.outcomes.push_back(*row.outcome);
    }
  }
  return begin;
}

std::vector<protocol::Journal> TestRun::pages(std::size_t rows_per_page) const {
  std::vector<protocol::Journal> result;
  for (std::size_t at = 0; at < rows.size(); at += rows_per_page) {
    protocol::Journal page;
    page.run = options_.id;
    if (at == 0 && request) page.rows.emplace_back().outcome = request;
    for (std::size_t i = at; i < std::min(rows.size(), at + rows_per_page); ++i) {
      const Hash128 hash = fast_hash(rows[i].call.args);
      page.rows.push_back({.seq = rows[i].call.seq,
                           .service = rows[i].call.service,
                           .method = rows[i].call.method,
                           .args_hash_high = hash.high,
                           .args_hash_low = hash.low,
                           .outcome = rows[i].outcome});
    }
    page.more = at + rows_per_page < rows.size();
    result.push_back(std::move(page));
  }
  return result;
}

protocol::SliceDone TestRun::took(protocol::SliceDone done) {
  using protocol::SliceDoneStatus;
  if (done.status == SliceDoneStatus::not_warm || done.retry_alone) return done;
  delivered_ = recorded_;
  for (const auto& call : done.calls) rows.push_back({call, std::nullopt});
  logs.insert(logs.end(), done.logs.begin(), done.logs.end());
  return done;
}

protocol::SliceDone TestRun::begin_cold(EngineProcess& engine, bool with_code) {
  return took(engine.slice(cold_frame(with_code), pages()));
}

protocol::SliceDone TestRun::deliver_warm(EngineProcess& engine) {
  return took(engine.slice(warm_frame()));
}

void TestRun::record_outcome(std::int64_t seq, const Answer& answer) {
  Row& row = rows.at(static_cast<std::size_t>(seq - 1));
  ASSERT_FALSE(row.outcome.has_value());
  ++recorded_;
  row.outcome = protocol::OutcomeFrame{.seq = seq,
                                       .delivered_as = recorded_,
                                       .failed = answer.failed,
                                       .payload = answer.payload,
                                       .at_ms = options_.started_at_ms + 13 * recorded_};
}

void TestRun::ask_to_end(const Answer& answer) {
  ++recorded_;
  request = protocol::OutcomeFrame{.seq = 0,
                                   .delivered_as = recorded_,
                                   .failed = true,
                                   .payload = answer.payload,
                                   .at_ms = options_.started_at_ms + 13 * recorded_};
}

std::optional<std::int64_t> TestRun::choose() {
  std::vector<std::int64_t> open;
  for (const Row& row : rows) {
    if (!row.outcome) open.push_back(row.call.seq);
  }
  if (open.empty()) return std::nullopt;
  if (options_.order_seed == 0) return open.front();
  random_ = (random_ == 0 ? options_.order_seed : random_) * 1664525u + 1013904223u;
  return open[(random_ >> 8) % open.size()];
}

Record TestRun::finish(EngineProcess& engine) {
  using protocol::SliceDoneStatus;
  Record record;
  std::unique_ptr<EngineProcess> fresh;
  protocol::SliceDone done = begin_cold(engine);
  for (record.slices = 1; done.status == SliceDoneStatus::suspended; ++record.slices) {
    const auto seq = choose();
    if (!seq || record.slices > options_.slices_max) {
      ADD_FAILURE() << "the run does not end: " << to_text(record);
      break;
    }
    record_outcome(*seq, options_.respond(rows[static_cast<std::size_t>(*seq - 1)].call));
    if (options_.resume == Resume::warm) {
      EXPECT_TRUE(done.warm);
      done = deliver_warm(engine);
    } else if (options_.resume == Resume::replay_same_engine) {
      engine.send(protocol::Forget{.run = options_.id});
      done = begin_cold(engine, false);
    } else {
      fresh = std::make_unique<EngineProcess>();
      done = begin_cold(*fresh);
    }
  }
  record.status = done.status;
  record.payload = done.payload;
  for (const Row& row : rows) record.calls.push_back(row.call);
  record.logs = logs;
  return record;
}

EngineOptions small_limits() {
  EngineOptions options;
  options.hello.limits.heap_bytes = 64ll << 20;
  options.hello.limits.buffer_bytes = 32ll << 20;
  options.hello.limits.cpu_ms = 300;
  options.hello.limits.wall_ms = 20'000;  // a busy machine gives little CPU time a second
  options.hello.warm_bytes_max = 128ll << 20;
  return options;
}

std::string task(const std::string& body) {
  return "module.exports = async function (input) {\n" + body + "\n};";
}

bool has_code(const protocol::SliceDone& done, const std::string& code) {
  return done.payload.find("\"code\":\"" + code + "\"") != std::string::npos;
}

Record run_task(const std::string& code, RunOptions options) {
  EngineProcess engine;
  return TestRun(code, std::move(options)).finish(engine);
}

}  // namespace sequential::engine::v8test
