// bench-floor: what the store itself can do, with no server around it. One "call" is the pair of
// transitions that every call of a task costs: commit_slice (one new call, claimed for this node,
// lazy) and record_outcome (final, waking the root, durable).
//
//   bench-floor [--dir DIR] [--seconds S] [--concurrency N] [--payload BYTES]
//
// Prints one JSON object. `raw_*` is the same row changes by plain SQLite statements in the same
// two transactions, no queue and no threads: what SQLite leaves us to lose.

#include <sqlite3.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "sequential/base/check.h"
#include "sequential/base/clock.h"
#include "sequential/storage/sqlite.h"

namespace {

using namespace sequential;
using namespace sequential::storage;

struct Arguments {
  std::string dir = std::filesystem::temp_directory_path().string();
  double seconds = 3;
  int concurrency = 32;
  std::size_t payload_bytes = 64;
};

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

struct Measured {
  std::int64_t calls = 0;
  double seconds = 0, cpu = 0;
  double p50_us = 0, p99_us = 0, max_us = 0;  // of one call: both transitions
};

Measured summary(std::vector<double>& times_us, double seconds, double cpu) {
  std::sort(times_us.begin(), times_us.end());
  const auto at = [&](double q) {
    return times_us.empty() ? 0
                            : times_us[static_cast<std::size_t>(
                                  q * static_cast<double>(times_us.size() - 1))];
  };
  return {static_cast<std::int64_t>(times_us.size()), seconds, cpu, at(0.5), at(0.99), at(1)};
}

// One run that makes call after call, driven by the store's own callbacks.
class Chain {
 public:
  Chain(Store& store, TaskFunctionId function, std::string args, double until)
      : store_(store), function_(function), args_(std::move(args)), until_(until) {}

  void start() {
    Submission s;
    s.task_function_id = function_;
    s.task_name = "bench";
    s.input = "{}";
    s.seed = "0123456789abcdef";
    s.handoff = lease_;
    store_.submit(std::move(s), [this](Result<Submitted> submitted) {
      root_ = submitted.value().work.value().grant;
      issue();
    });
  }
  void wait() { finished_.get_future().wait(); }
  std::vector<double>& times_us() { return times_us_; }

 private:
  void issue() {
    began_ = seconds_now();
    if (began_ > until_) return finished_.set_value();
    SliceCommit commit;
    commit.root = root_;
    commit.delivered_through = seq_;
    NewCall& call = commit.calls.emplace_back();
    call.seq = ++seq_;
    call.service_name = "echo";
    call.method_name = "echo";
    call.args = args_;
    commit.handoff = lease_;
    store_.commit_slice(std::move(commit), [this](Result<SliceCommitted> committed) {
      record(std::move(committed.value().calls.at(0).work.value()));
    });
  }
  void record(Work work) {
    OutcomeRecord record;
    record.call = work.grant;
    record.payload = std::move(work.args);
    record.handoff = lease_;
    store_.record_outcome(std::move(record), [this](Result<OutcomeRecorded> recorded) {
      root_ = recorded.value().wake.value().work.value().grant;
      times_us_.push_back((seconds_now() - began_) * 1e6);
      issue();
    });
  }

  Store& store_;
  const TaskFunctionId function_;
  const std::string args_;
  const double until_;
  const Lease lease_{"0123456789abcdef", Millis{30'000}};
  Grant root_;
  std::int64_t seq_ = 0;
  double began_ = 0;
  std::vector<double> times_us_;
  std::promise<void> finished_;
};

std::string payload(std::size_t bytes) {
  return "[\"" + std::string(bytes > 4 ? bytes - 4 : 0, 'x') + "\"]";
}

Measured measure_store(Store& store, const Arguments& arguments, int concurrency) {
  std::promise<TaskFunctionId> published;
  Publication publication;
  publication.name = "bench";
  publication.code = "module.exports = async () => 1";
  publication.code_sha256 = "0";
  store.publish(std::move(publication), [&](Result<Published> p) {
    published.set_value(p.value().id);
  });
  const TaskFunctionId function = published.get_future().get();
  const double began = seconds_now();
  const double cpu = cpu_seconds();
  std::vector<std::unique_ptr<Chain>> chains;
  for (int i = 0; i < concurrency; ++i) {
    chains.push_back(std::make_unique<Chain>(store, function, payload(arguments.payload_bytes),
                                             began + arguments.seconds));
    chains.back()->start();
  }
  std::vector<double> times_us;
  for (auto& chain : chains) {
    chain->wait();
    times_us.insert(times_us.end(), chain->times_us().begin(), chain->times_us().end());
  }
  return summary(times_us, seconds_now() - began, cpu_seconds() - cpu);
}

// The same row changes without the store.
class Raw {
 public:
  explicit Raw(const std::string& path) {
    SEQUENTIAL_CHECK(sqlite3_open(path.c_str(), &db_) == SQLITE_OK);
    execute("PRAGMA journal_mode=WAL");
    execute("PRAGMA wal_autocheckpoint=4000");
    insert_ = prepare(
        "INSERT INTO stack_runs (id, task_run_id, seq, parent_stack_run_id, status, epoch, attempt,"
        " priority, available_at, lease_owner, lease_until, slice, delivered_as, created_at,"
        " updated_at, delivery, service_name, method_name, args)"
        " VALUES (?1, 1, ?2, 1, 'processing', 1, 1, 0, ?3, '0123456789abcdef', ?3, ?2, 0, ?3, ?3,"
        " 0, 'echo', 'echo', ?4)");
    suspend_ = prepare(
        "UPDATE stack_runs SET status = 'suspended_waiting_child', call_count = ?1, updated_at = ?2"
        " WHERE id = 1");
    complete_ = prepare(
        "UPDATE stack_runs SET status = 'completed', result = ?2, delivered_as = ?3, ended_at = ?4"
        " WHERE id = ?1");
    wake_ = prepare(
        "UPDATE stack_runs SET status = 'processing', epoch = epoch + 1, journal_length = ?1,"
        " updated_at = ?2 WHERE id = 1");
  }
  Raw(const Raw&) = delete;
  Raw& operator=(const Raw&) = delete;
  ~Raw() {
    for (sqlite3_stmt* const statement : {insert_, suspend_, complete_, wake_}) {
      sqlite3_finalize(statement);
    }
    sqlite3_close(db_);
  }

  Measured measure(const Arguments& arguments) {
    const std::string text = payload(arguments.payload_bytes);
    execute(
        "INSERT INTO stack_runs (id, task_run_id, seq, status, epoch, attempt, priority,"
        " available_at, slice, delivered_as, created_at, updated_at)"
        " VALUES (1, 1, 0, 'processing', 1, 1, 0, 0, 0, 0, 0, 0)");
    std::vector<double> times_us;
    const double began = seconds_now();
    const double cpu = cpu_seconds();
    for (std::int64_t seq = 1; seconds_now() < began + arguments.seconds; ++seq) {
      const double call_began = seconds_now();
      const std::int64_t now = system_clock().now().ms;
      execute("PRAGMA synchronous=NORMAL");
      execute("BEGIN IMMEDIATE");
      bind(insert_, {seq + 1, seq, now}, 4, text);
      bind(suspend_, {seq, now}, 0, text);
      execute("COMMIT");
      execute("PRAGMA synchronous=FULL");
      execute("BEGIN IMMEDIATE");
      sqlite3_bind_int64(complete_, 3, seq);
      sqlite3_bind_int64(complete_, 4, now);
      bind(complete_, {seq + 1}, 2, text);
      bind(wake_, {seq, now}, 0, text);
      execute("COMMIT");
      times_us.push_back((seconds_now() - call_began) * 1e6);
    }
    return summary(times_us, seconds_now() - began, cpu_seconds() - cpu);
  }

 private:
  void execute(const char* sql) {
    SEQUENTIAL_CHECK(sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) == SQLITE_OK);
  }
  sqlite3_stmt* prepare(const char* sql) {
    sqlite3_stmt* statement = nullptr;
    SEQUENTIAL_CHECK(sqlite3_prepare_v2(db_, sql, -1, &statement, nullptr) == SQLITE_OK);
    return statement;
  }
  static void bind(sqlite3_stmt* statement, std::initializer_list<std::int64_t> integers,
                   int text_at, const std::string& text) {
    int i = 0;
    for (const std::int64_t value : integers) sqlite3_bind_int64(statement, ++i, value);
    if (text_at > 0) {
      sqlite3_bind_text(statement, text_at, text.data(), static_cast<int>(text.size()),
                        SQLITE_STATIC);
    }
    SEQUENTIAL_CHECK(sqlite3_step(statement) == SQLITE_DONE);
    sqlite3_reset(statement);
  }

  sqlite3* db_ = nullptr;
  sqlite3_stmt *insert_ = nullptr, *suspend_ = nullptr, *complete_ = nullptr, *wake_ = nullptr;
};

std::unique_ptr<Store> open_at(const std::string& path) {
  SqliteOptions options;
  options.path = path;
  auto store = open_sqlite(options, system_clock());
  if (store.has_value()) return std::move(store).value();
  std::fprintf(stderr, "bench-floor: %s\n", store.error().message.c_str());
  std::exit(1);
}

void print(const char* name, const Measured& m, const char* end) {
  const auto calls = static_cast<double>(std::max<std::int64_t>(m.calls, 1));
  std::printf(
      "  \"%s\": {\"calls_per_s\": %.0f, \"transitions_per_s\": %.0f, \"p50_us\": %.0f, "
      "\"p99_us\": %.0f, \"max_us\": %.0f, \"cpu_us_per_transition\": %.1f}%s\n",
      name, calls / m.seconds, 2 * calls / m.seconds, m.p50_us, m.p99_us, m.max_us,
      m.cpu / calls / 2 * 1e6, end);
}

Arguments parse(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    const char* const value = argv[i + 1];
    if (name == "--dir") {
      arguments.dir = value;
    } else if (name == "--seconds") {
      arguments.seconds = std::clamp(std::atof(value), 0.1, 600.0);
    } else if (name == "--concurrency") {
      arguments.concurrency = std::clamp(std::atoi(value), 1, 10'000);
    } else if (name == "--payload") {
      arguments.payload_bytes = static_cast<std::size_t>(std::clamp(std::atoi(value), 4, 1 << 24));
    } else {
      std::fprintf(stderr, "bench-floor: unknown option %s\n", name.c_str());
      std::exit(2);
    }
  }
  return arguments;
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments arguments = parse(argc, argv);
  std::string folder = arguments.dir + "/bench-floor-XXXXXX";
  if (::mkdtemp(folder.data()) == nullptr) {
    std::fprintf(stderr, "bench-floor: cannot create a folder in %s\n", arguments.dir.c_str());
    return 1;
  }
  Measured sequential, concurrent, raw;
  sequential = measure_store(*open_at(folder + "/sequential.db"), arguments, 1);
  concurrent = measure_store(*open_at(folder + "/concurrent.db"), arguments,
                             arguments.concurrency);
  open_at(folder + "/raw.db").reset();  // creates the tables
  raw = Raw(folder + "/raw.db").measure(arguments);
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);

  std::printf("{\n  \"store\": \"sqlite\", \"concurrency\": %d, \"payload_bytes\": %zu,\n",
              arguments.concurrency, arguments.payload_bytes);
  print("sequential", sequential, ",");
  print("concurrent", concurrent, ",");
  print("raw_sequential", raw, ",");
  std::printf("  \"floor_commits_per_s\": %.0f\n}\n",
              2 * static_cast<double>(sequential.calls) / sequential.seconds);
  return 0;
}
