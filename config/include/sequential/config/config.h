#pragma once
// Config: every setting of the server with its default, as plain values. The table in
// src/settings.cpp says for each what it means, its bounds and its unit; load.h fills it.
//
// Threads:  plain values, constant after loading.
// Naming:   the member path is the setting's name: config.server.port is `server.port` in the file,
//           SEQUENTIAL_SERVER_PORT in the environment, `--set server.port=…` as a flag.

#include <cstdint>
#include <string>
#include <vector>

namespace sequential::config {

struct Server {
  std::string address = "127.0.0.1";
  int port = 8765;    // 0: any free one
  int threads = 0;    // 0: one per two cores
  int max_in_flight = 1'024;
  int connections_max = 2'000;
  int connections_per_address_max = 200;  // not for loopback
  int requests_per_connection_max = 1'000'000;
  std::int64_t header_bytes_max = 16 << 10;
  std::int64_t submit_bytes_max = 9 << 20;
  std::int64_t publish_bytes_max = 5 << 20;
  std::int64_t chain_bytes_max = 4'096;
  std::int64_t header_timeout_ms = 10'000;
  std::int64_t body_timeout_ms = 60'000;
  std::int64_t idle_timeout_ms = 30'000;
  std::int64_t write_timeout_ms = 30'000;
  std::int64_t wait_seconds_max = 300;
  int event_streams_max = 1'000;
  std::int64_t event_heartbeat_ms = 15'000;
  std::int64_t event_poll_ms = 1'000;
  std::int64_t event_pace_ms = 50;
  std::int64_t drain_ms = 10'000;
  int replays_max = 4;
  std::int64_t replay_ms = 60'000;
  std::int64_t fork_calls_max = 10'000;
  std::string api_token_file;
  std::vector<std::string> allowed_hosts;
  std::string public_url;  // where webhooks are reached; empty: where the server listens
};

struct Chain {
  std::string url;  // empty: this node
  bool enabled = true;
  std::string key_file;  // load() fills in the default: chain.key beside the database
  int connections = 32;
  int queue_max = 100'000;
  std::int64_t timeout_ms = 10'000;
  int claims_max = 8;
  int hints_max = 10'000;
};

struct Sqlite {
  int readers = 2;
  int queue_max = 100'000;
  int batch_max = 512;
  std::int64_t wal_checkpoint_pages = 4'000;
  std::int64_t cache_kib = 65'536;
  std::int64_t size_bytes_max = 0;  // 0: unlimited
  std::int64_t log_bytes_warn = 256ll << 20;  // of the server; not an option of the store
};

// The same members as storage::PostgresOptions.
struct Postgres {
  std::string schema = "sequential";
  int connections = 8;
  int readers = 2;
  int queue_max = 100'000;
  std::int64_t connect_timeout_ms = 5'000;
  std::int64_t statement_timeout_ms = 10'000;
  std::int64_t lock_timeout_ms = 5'000;
  std::int64_t idle_in_transaction_timeout_ms = 5'000;
  std::int64_t tcp_user_timeout_ms = 10'000;
  bool strict = true;
  bool prepare = true;
  bool listen = true;
  int xmin_age_warn = 1'000'000;  // of the server; not an option of the store
};

struct Store {
  std::string kind = "sqlite";
  std::string path = "data/sequential.db";
  std::string url;       // of PostgreSQL
  std::string url_file;  // a file that holds it
  std::int64_t lease_ms = 30'000;
  std::int64_t sweep_ms = 5'000;
  std::int64_t upkeep_ms = 30'000;
  Sqlite sqlite;
  Postgres postgres;
};

struct Engine {
  std::string path;   // empty: sequential-engine beside this executable
  int processes = 0;  // 0: one per core
  int queue_max = 10'000;
  int warm_runs_max = 20'000;
  std::int64_t warm_bytes_max = 1ll << 30;
  int runs_per_isolate = 64;
  bool jit = true;
  bool evict_always = false;
  std::int64_t start_timeout_ms = 10'000;
  int restarts_per_minute_max = 600;
  int crashes_max = 3;
};

// The same members as engine::Limits (a test holds them together), then those of the server alone.
struct Limits {
  std::int64_t heap_bytes = 128ll << 20;
  std::int64_t buffer_bytes = 64ll << 20;
  std::int64_t cpu_ms = 10'000;
  std::int64_t wall_ms = 30'000;
  std::int64_t hard_kill_ms = 500;
  std::int64_t calls_in_flight = 10'000;
  std::int64_t payload_bytes = 32ll << 20;
  std::int64_t log_entries_per_slice = 1'000;
  std::int64_t log_message_bytes = 8'192;
  std::int64_t status_bytes = 16ll << 10;
  std::int64_t attributes = 32;
  std::int64_t attribute_chars = 256;
  std::int64_t attributes_chars = 2'048;
  std::int64_t signals_kept = 10'000;
  std::int64_t signal_bytes = 1ll << 20;
  std::int64_t frame_bytes = 80ll << 20;
  std::int64_t child_depth = 200;
  std::int64_t cancel_grace_ms = 30'000;
};

struct Schedules {
  int max = 10'000;
  int catch_up_max = 1'000;
  int backfill_max = 1'000;
};

struct Search {
  int rows_max = 20'000;
  int tags_max = 32;
};

struct Retention {
  std::int64_t completed_ms = 0;  // 0: for ever
  std::int64_t failed_ms = 0;
  std::int64_t pass_ms = 600'000;
  int batch = 100;
};

struct KeystoreFile {
  std::string key_file;  // load() fills in the default: keystore.key beside the database
};

struct GapiService {
  std::string endpoint = "https://{host}";
  std::int64_t response_bytes_max = 8ll << 20;
};

struct HttpService {
  std::vector<std::string> allow_hosts;
  int redirects_max = 5;
  std::int64_t response_bytes_max = 8ll << 20;
  int connections_max = 512;
  int connections_per_host_max = 64;
  int queue_max = 50'000;
  std::string proxy;
  std::string ca_file;
};

struct KeystoreService {
  std::vector<std::string> readable = {"default/GAPI_ADMIN_EMAIL"};
  bool writable = false;
};

struct Services {
  GapiService gapi;
  HttpService http;
  KeystoreService keystore;
};

struct Log {
  std::string level = "info";
  std::string format = "automatic";
};

struct Config {
  Server server;
  Chain chain;
  Store store;
  Engine engine;
  Limits limits;
  Schedules schedules;
  Search search;
  Retention retention;
  KeystoreFile keystore;
  Services services;
  Log log;
};

}  // namespace sequential::config
