#pragma once
// The real engine process on one end of a socketpair, and on the other a broker simple enough to be
// obviously right: it keeps the journal in memory and drives one run at a time.

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sequential/engine/protocol.h"

namespace sequential::engine::v8test {

inline constexpr std::chrono::seconds kPatience{25};  // far more than anything here takes

// Whether task code is compiled by a sanitizer's slower engine: time limits then mean little.
bool under_sanitizer();

struct EngineOptions {
  protocol::Hello hello = default_hello();
  std::vector<std::string> arguments;
  bool send_hello = true;
  bool expect_ready = true;

  static protocol::Hello default_hello();
};

// How the process ended.
struct Exit {
  int code = -1;
  int signal = 0;
};

class EngineProcess {
 public:
  explicit EngineProcess(EngineOptions options = {});
  EngineProcess(const EngineProcess&) = delete;
  EngineProcess& operator=(const EngineProcess&) = delete;
  ~EngineProcess();

  void send(const protocol::ToEngine& message);
  void send_bytes(std::string_view bytes);
  // The next frame. nullopt: the engine closed its end, or `patience` is over.
  std::optional<protocol::FromEngine> receive(std::chrono::milliseconds patience = kPatience);
  // The answer to a Begin; what comes before it is kept in `evicted` and `progress`.
  protocol::SliceDone slice(const protocol::Begin& begin,
                            const std::vector<protocol::Journal>& pages = {});
  protocol::Checked check(const std::string& code, const std::string& name = "task");

  const protocol::Ready& ready() const { return ready_; }
  void close_socket();
  Exit wait();
  Exit kill();
  pid_t pid() const { return pid_; }
  std::int64_t rss_bytes() const;

  std::vector<std::int64_t> evicted;
  std::vector<protocol::Progress> progress;
  std::optional<protocol::Dying> dying;

 private:
  pid_t pid_ = -1;
  int fd_ = -1;
  std::optional<Exit> exit_;
  protocol::Ready ready_;
  protocol::FrameReader reader_;
};

struct Answer {
  bool failed = false;
  std::string payload = "null";
};
using Responder = std::function<Answer(const protocol::CallFrame&)>;

// Echoes: {"seq": n, "args": …}.
Answer echo(const protocol::CallFrame& call);

enum class Resume { warm, replay_same_engine, replay_new_engine };

struct RunOptions {
  std::string name = "task";
  std::string input = "null";
  std::string seed = "0123456789abcdef";
  std::int64_t id = 7;
  std::int64_t function_id = 1;
  std::int64_t started_at_ms = 1'700'000'000'000;
  Responder respond = echo;
  Resume resume = Resume::warm;
  std::uint32_t order_seed =
      0;  // 0: outcomes in the order of the calls; else shuffled by this seed
  bool alone = false;
  int slices_max = 10'000;
};

// Everything a run did to the outside.
struct Record {
  protocol::SliceDoneStatus status = protocol::SliceDoneStatus::suspended;
  std::string payload;
  std::vector<protocol::CallFrame> calls;
  std::vector<protocol::LogFrame> logs;
  int slices = 0;
};
std::string to_text(const Record& record);  // for comparison, one line per fact

// A run and its journal.
class TestRun {
 public:
  TestRun(std::string code, RunOptions options)
      : code_(std::move(code)), options_(std::move(options)) {}

  // The first slice, or any later one from the journal.
  protocol::SliceDone begin_cold(EngineProcess& engine, bool with_code = true);
  // Records an outcome; the next slice delivers it.
  void record_outcome(std::int64_t seq, const Answer& answer);
  // Likewise, a request that the run end.
  void ask_to_end(const Answer& answer);
  protocol::SliceDone deliver_warm(EngineProcess& engine);

  // To the end.
  Record finish(EngineProcess& engine);

  protocol::Begin cold_frame(bool with_code) const;
  protocol::Begin warm_frame() const;
  std::vector<protocol::Journal> pages(std::size_t rows_per_page = 3) const;

  struct Row {
    protocol::CallFrame call;
    std::optional<protocol::OutcomeFrame> outcome;
  };
  std::vector<Row> rows;
  std::optional<protocol::OutcomeFrame> request;  // that it end
  std::vector<protocol::LogFrame> logs;

 private:
  protocol::SliceDone took(protocol::SliceDone done);
  std::optional<std::int64_t> choose();

  const std::string code_;
  const RunOptions options_;
  std::int64_t delivered_ = 0;  // by the engine
  std::int64_t recorded_ = 0;   // outcomes in the journal
  std::uint32_t random_ = 0;
};

// Limits that hostile code meets within a test's time.
EngineOptions small_limits();
// `body` as an async task function of `input`.
std::string task(const std::string& body);
// Whether the error that ended the slice has the code.
bool has_code(const protocol::SliceDone& done, const std::string& code);

// Runs it in an engine of its own.
Record run_task(const std::string& code, RunOptions options = {});

}  // namespace sequential::engine::v8test
