#pragma once
// The commands. Each prints its outcome and returns the exit code.

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bundle.h"
#include "session.h"

namespace sequential::cli {

struct PublishOptions {
  std::vector<std::string> files;
  std::string name;  // empty: from the file's name
  std::string description;
  BundleOptions bundle;
};
int publish(Session& session, const PublishOptions& options);

struct RunOptions {
  std::string task;
  std::string input;  // JSON, @file, or - for standard input; empty: none
  std::string idempotency_key;
  bool wait = false;
  std::int64_t timeout_s = 0;  // 0: as long as it takes
  int version = 0;             // 0: the newest
  std::optional<int> priority;
  std::optional<std::int64_t> delay_ms;
  std::string queue_key;
};
int run_task(Session& session, const RunOptions& options);

// Parameters of GET /runs, by name.
using RunsFilter = std::vector<std::pair<std::string, std::string>>;

struct RunsListOptions {
  RunsFilter filter;
  std::string cursor;
  int limit = 20;
  bool all = false;  // every page
};
int runs_list(Session& session, const RunsListOptions& options);
int runs_count(Session& session, const RunsFilter& filter);
int runs_delete(Session& session, std::int64_t id);

struct RunsPurgeOptions {
  RunsFilter filter;
  std::optional<std::string> older_than;
  bool dry_run = false, yes = false;
};
int runs_purge(Session& session, const RunsPurgeOptions& options);

struct RetentionOptions {
  std::string task;
  std::string completed, failed;  // empty: not said
  bool forget = false;
};
int tasks_retention(Session& session, const RetentionOptions& options);

struct RunsShowOptions {
  std::int64_t id = 0;
  int calls = 10;  // the last so many calls are shown
  bool wait = false;
  std::int64_t timeout_s = 0;
};
int runs_show(Session& session, const RunsShowOptions& options);

struct RunsCancelOptions {
  std::int64_t id = 0;
  std::optional<std::int64_t> grace_ms;  // unset: the server's
  bool force = false;
  std::string reason;
};
int runs_cancel(Session& session, const RunsCancelOptions& options);

struct RunsReplayOptions {
  std::int64_t id = 0;
  int version = 0;  // 0: the newest
};
int runs_replay(Session& session, const RunsReplayOptions& options);

// One run by its number, or with id 0 those that a filter names.
struct RunsChangeOptions {
  std::string action;  // cancel, pause, resume, retry
  std::int64_t id = 0;
  int version = 0;         // to go on with
  std::int64_t call = 0;   // retry: from this failed call
  bool unknown_again = false;
  RunsFilter filter;
  std::int64_t limit = 0;  // 0: all
  bool all = false, dry_run = false, yes = false;
};
int runs_change(Session& session, const RunsChangeOptions& options);

struct RunsForkOptions {
  std::int64_t id = 0;
  std::int64_t call = 0;
  std::optional<std::int64_t> position;
  std::optional<std::string> input, result, error;  // JSON, @file, or - for standard input
  int version = 0;
};
int runs_fork(Session& session, const RunsForkOptions& options);

struct LogsOptions {
  std::int64_t id = 0;
  bool follow = false;
  bool calls = false;  // of the run, among the lines that are followed
};
int logs(Session& session, const LogsOptions& options);

struct SignalOptions {
  std::int64_t run = 0;
  std::string name;
  std::string data;  // JSON, @file, or - for standard input; empty: null
  std::string idempotency_key;
};
int send_signal(Session& session, const SignalOptions& options);

int tasks_list(Session& session);
int tasks_show(Session& session, const std::string& name);

struct QueuesSetOptions {  // empty: as it is; "none": no limit
  std::string task, concurrency, key_concurrency, rate, key_rate;
};
int queues_list(Session& session);
int queues_show(Session& session, const std::string& task);
int queues_set(Session& session, const QueuesSetOptions& options);
int queues_reset(Session& session, const std::string& task);

struct KeystoreSetOptions {
  std::string name_space, key;
  std::string value_file;  // empty: standard input
};
int keystore_set(Session& session, const KeystoreSetOptions& options);
int keystore_list(Session& session, const std::string& name_space);
int keystore_delete(Session& session, const std::string& name_space, const std::string& key);

struct ScheduleSetOptions {
  std::string name, task, cron, description, queue_key;
  std::string time_zone = "UTC", overlap = "skip", catch_up = "latest";
  std::string jitter, catch_up_window;  // such as 30s; empty: the server's default
  std::string input;                    // as in RunOptions
  bool input_with_tick = false, paused = false;
  int version = 0;
  std::optional<int> priority;
};
int schedules_list(Session& session);
int schedules_set(Session& session, const ScheduleSetOptions& options);
int schedules_show(Session& session, const std::string& name);
int schedules_pause(Session& session, const std::string& name, bool pause);
int schedules_delete(Session& session, const std::string& name);
int schedules_trigger(Session& session, const std::string& name, bool beside);
int schedules_backfill(Session& session, const std::string& name, const std::string& from,
                       const std::string& to);

int db_status(Session& session);
int db_clear(Session& session, bool yes);

}  // namespace sequential::cli
