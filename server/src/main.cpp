// sequential-runner: the one file that names the backends.

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>

#include "app.h"
#include "components.h"
#include "sequential/base/log.h"
#include "sequential/cli/main.h"
#include "sequential/config/load.h"
#include "sequential/engine/engine_pool.h"
#include "sequential/storage/postgres.h"
#include "sequential/storage/sqlite.h"

extern char** environ;

namespace {

using namespace sequential;

constexpr const char* kVersion = SEQUENTIAL_VERSION;

config::Sources sources_of(const cli::ServeArguments& arguments) {
  config::Sources sources;
  sources.file = arguments.config_file;
  sources.flags = arguments.settings;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const auto equals = text.find('=');
    if (!text.starts_with("SEQUENTIAL_") || equals == std::string::npos) continue;
    sources.environment.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  return sources;
}

LogLevel level_of(const std::string& name) {
  if (name == "debug") return LogLevel::debug;
  if (name == "warn") return LogLevel::warn;
  if (name == "error") return LogLevel::error;
  return LogLevel::info;
}

LogFormat format_of(const std::string& name) {
  if (name == "text") return LogFormat::text;
  if (name == "json") return LogFormat::json;
  return LogFormat::automatic;
}

Result<std::string> read_url(const config::Store& c) {
  if (c.url_file.empty()) return c.url;
  std::ifstream file(c.url_file);
  std::string url;
  if (!std::getline(file, url) || url.empty()) {
    return Error(Errc::config_invalid,
                 "store.url_file " + c.url_file + " must hold the database's URL in its first line",
                 "store.url_file");
  }
  return url;
}

Result<std::unique_ptr<storage::Store>> open_postgres(const config::Config& c, const Clock& clock) {
  storage::PostgresOptions options;
  SEQUENTIAL_TRY(options.url, read_url(c.store));
  options.schema = c.store.postgres.schema;
  options.connections = c.store.postgres.connections;
  options.readers = c.store.postgres.readers;
  options.queue_max = c.store.postgres.queue_max;
  options.connect_timeout = Millis{c.store.postgres.connect_timeout_ms};
  options.statement_timeout = Millis{c.store.postgres.statement_timeout_ms};
  options.lock_timeout = Millis{c.store.postgres.lock_timeout_ms};
  options.idle_in_transaction_timeout = Millis{c.store.postgres.idle_in_transaction_timeout_ms};
  options.tcp_user_timeout = Millis{c.store.postgres.tcp_user_timeout_ms};
  options.unknown_patience = Millis{c.store.lease_ms};
  options.strict = c.store.postgres.strict;
  options.prepare = c.store.postgres.prepare;
  options.listen = c.store.postgres.listen;
  return storage::open_postgres(options, clock);
}

Result<std::unique_ptr<storage::Store>> open_store(const config::Config& c, const Clock& clock) {
  if (c.store.kind == "postgres") return open_postgres(c, clock);
  storage::SqliteOptions options;
  options.path = c.store.path;
  options.readers = c.store.sqlite.readers;
  options.queue_max = c.store.sqlite.queue_max;
  options.batch_max = c.store.sqlite.batch_max;
  options.wal_checkpoint_pages = c.store.sqlite.wal_checkpoint_pages;
  options.cache_kib = c.store.sqlite.cache_kib;
  options.size_bytes_max = c.store.sqlite.size_bytes_max;
  return storage::open_sqlite(options, clock);
}

engine::Limits limits_of(const config::Limits& c) {
  engine::Limits limits;
  limits.heap_bytes = c.heap_bytes;
  limits.buffer_bytes = c.buffer_bytes;
  limits.cpu_ms = c.cpu_ms;
  limits.wall_ms = c.wall_ms;
  limits.hard_kill_ms = c.hard_kill_ms;
  limits.calls_in_flight = c.calls_in_flight;
  limits.payload_bytes = c.payload_bytes;
  limits.log_entries_per_slice = c.log_entries_per_slice;
  limits.log_message_bytes = c.log_message_bytes;
  limits.status_bytes = c.status_bytes;
  limits.attributes = c.attributes;
  limits.attribute_chars = c.attribute_chars;
  limits.attributes_chars = c.attributes_chars;
  limits.frame_bytes = c.frame_bytes;
  return limits;
}

Result<std::unique_ptr<engine::Runtime>> open_runtime(boost::asio::io_context& io,
                                                      const config::Config& c) {
  engine::PoolOptions options;
  options.engine_path = c.engine.path;
  options.processes = c.engine.processes;
  options.queue_max = c.engine.queue_max;
  options.warm_runs_max = c.engine.warm_runs_max;
  options.warm_bytes_max = c.engine.warm_bytes_max;
  options.runs_per_isolate = c.engine.runs_per_isolate;
  options.jit = c.engine.jit;
  options.evict_always = c.engine.evict_always;
  options.start_timeout_ms = c.engine.start_timeout_ms;
  options.restarts_per_minute_max = c.engine.restarts_per_minute_max;
  options.limits = limits_of(c.limits);
  return engine::open_engine_pool(io, options);
}

void add_services(services::Registry& registry, const config::Config& c,
                  std::shared_ptr<services::Keystore> keystore, services::HttpClient& http,
                  const Clock& clock) {
  services::KeystoreServiceOptions keys;
  keys.readable = c.services.keystore.readable;
  keys.writable = c.services.keystore.writable;
  services::GapiOptions gapi;
  gapi.endpoint = c.services.gapi.endpoint;
  gapi.response_bytes_max = c.services.gapi.response_bytes_max;
  services::HttpServiceOptions fetch;
  fetch.response_bytes_max = c.services.http.response_bytes_max;
  fetch.redirects_max = c.services.http.redirects_max;
  registry.add(services::make_echo_service());
  registry.add(services::make_timer_service());
  registry.add(services::make_keystore_service(keystore, keys));
  registry.add(services::make_gapi_service(keystore, http, gapi, clock));
  registry.add(services::make_http_service(http, fetch));
}

int serve(const cli::ServeArguments& arguments) {
  if (arguments.print_schema) {
    std::fputs(config::schema_json().c_str(), stdout);
    return cli::kExitOk;
  }
  auto loaded = config::load(sources_of(arguments));
  if (loaded.has_error()) {
    std::fprintf(stderr, "%s\n", loaded.error().message.c_str());
    return cli::kExitUsage;
  }
  if (arguments.print_config) {
    std::puts(config::print_config(loaded.value()).c_str());
    return cli::kExitOk;
  }
  const config::Config& c = loaded.value().config;
  start_logging(level_of(c.log.level), format_of(c.log.format));
  const server::Backends backends{open_store, open_runtime, add_services,
                                  c.store.kind == "sqlite"};
  const auto announce = [](const std::string& url) {
    std::printf("sequential-runner %s listening on %s\n", kVersion, url.c_str());
    std::fflush(stdout);
  };
  const auto ran = server::run_node(c, kVersion, config::limits_json(c), backends, announce);
  stop_logging();
  if (ran.has_error()) {
    std::fprintf(stderr, "cannot serve: %s\n", ran.error().message.c_str());
    return ran.error().code == Errc::config_invalid ? cli::kExitUsage : cli::kExitServer;
  }
  return cli::kExitOk;
}

}  // namespace

int main(int argc, char** argv) {
  cli::Main program;
  program.version = kVersion;
  program.components.assign(std::begin(kComponents), std::end(kComponents));
  program.serve = serve;
  return cli::run_cli(program, argc, argv);
}
