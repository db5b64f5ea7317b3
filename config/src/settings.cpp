#include "settings.h"

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace sequential::config {
namespace {

constexpr std::int64_t kKiB = 1 << 10;
constexpr std::int64_t kMiB = 1 << 20;
constexpr std::int64_t kGiB = 1 << 30;
constexpr std::int64_t kTiB = kGiB << 10;
constexpr std::int64_t kMinuteMs = 60'000;
constexpr std::int64_t kHourMs = 60 * kMinuteMs;

constexpr std::array<std::string_view, 2> kStoreKinds{"sqlite", "postgres"};
constexpr std::array<std::string_view, 4> kLogLevels{"debug", "info", "warn", "error"};
constexpr std::array<std::string_view, 3> kLogFormats{"automatic", "text", "json"};

constexpr Setting boolean(std::string_view path, bool& (*access)(Config&), std::string_view help) {
  return {.path = path, .access = access, .kind = Kind::boolean, .unit = "", .help = help};
}
constexpr Setting text(std::string_view path, std::string& (*access)(Config&),
                       std::string_view help, Exposure exposure = Exposure::open) {
  return {.path = path,
          .access = access,
          .kind = Kind::text,
          .unit = "",
          .help = help,
          .choices = {},
          .exposure = exposure};
}
constexpr Setting choice(std::string_view path, std::string& (*access)(Config&),
                         std::span<const std::string_view> choices, std::string_view help) {
  return {.path = path,
          .access = access,
          .kind = Kind::choice,
          .unit = "",
          .help = help,
          .choices = choices};
}
constexpr Setting list(std::string_view path, TextList& (*access)(Config&),
                       std::string_view help) {
  return {.path = path, .access = access, .kind = Kind::list, .unit = "", .help = help};
}
template <class Number>
constexpr Setting number(std::string_view path, Number& (*access)(Config&), std::int64_t min,
                         std::int64_t max, std::string_view unit, std::string_view help) {
  return {.path = path,
          .access = access,
          .kind = unit == "bytes" ? Kind::bytes : Kind::integer,
          .min = min,
          .max = max,
          .unit = unit,
          .help = help};
}

// The member and its name, written once.
#define AT(member, type) #member, +[](Config& c) -> type& { return c.member; }
#define INT(member) AT(member, int)
#define INT64(member) AT(member, std::int64_t)
#define TEXT(member) AT(member, std::string)
#define BOOL(member) AT(member, bool)
#define LIST(member) AT(member, TextList)

constexpr Setting kServer[] = {
    text(TEXT(server.address),
         "IP address to listen on; any but a loopback address needs server.api_token_file."),
    number(INT(server.port), 0, 65'535, "port", "TCP port to listen on; 0 takes any free one."),
    number(INT(server.threads), 0, 256, "threads",
           "Threads that serve HTTP; 0 is one per two cores."),
    number(INT(server.max_in_flight), 1, 100'000, "stack runs",
           "Stack runs processed at the same time; more wait in the database."),
    number(INT(server.connections_max), 8, 100'000, "connections",
           "Open connections; above it new ones are closed."),
    number(INT(server.connections_per_address_max), 1, 100'000, "connections",
           "Open connections of one client address; loopback is exempt."),
    number(INT(server.requests_per_connection_max), 1, 1'000'000'000, "requests",
           "Requests on one connection before the server closes it."),
    number(INT64(server.header_bytes_max), 1 * kKiB, 1 * kMiB, "bytes",
           "Size of a request's line and header fields."),
    number(INT64(server.submit_bytes_max), 1 * kKiB, 256 * kMiB, "bytes",
           "Body of POST /tasks/execute."),
    number(INT64(server.publish_bytes_max), 1 * kKiB, 64 * kMiB, "bytes",
           "Body of PUT /tasks/{name}."),
    number(INT64(server.chain_bytes_max), 64, 64 * kKiB, "bytes", "Body of POST /stack/process."),
    number(INT64(server.header_timeout_ms), 100, kHourMs, "ms",
           "Time for a request's header to arrive."),
    number(INT64(server.body_timeout_ms), 100, kHourMs, "ms",
           "Time for a request's body to arrive."),
    number(INT64(server.idle_timeout_ms), 100, kHourMs, "ms",
           "Time a connection may stay open without a request."),
    number(INT64(server.write_timeout_ms), 100, kHourMs, "ms",
           "Time for a client to take an answer."),
    number(INT64(server.wait_seconds_max), 0, 3'600, "s",
           "Longest wait that Prefer: wait=N or ?wait=N is given."),
    number(INT(server.event_streams_max), 0, 100'000, "streams",
           "Open streams of GET /runs/{id}/events; more are answered 429."),
    number(INT64(server.event_heartbeat_ms), 100, 10 * kMinuteMs, "ms",
           "Silence of an event stream after which a comment is sent."),
    number(INT64(server.event_poll_ms), 10, kHourMs, "ms",
           "Pause between looks at a watched run of which no news came."),
    number(INT64(server.event_pace_ms), 0, kMinuteMs, "ms",
           "Shortest pause between looks at a watched run; changes meanwhile come together."),
    number(INT64(server.drain_ms), 0, 10 * kMinuteMs, "ms",
           "Time that work under way gets to end after SIGTERM."),
    number(INT(server.replays_max), 1, 1'000, "replays",
           "Dry replays (runs …/replay, resume on a version, retry, fork) at the same time."),
    number(INT64(server.replay_ms), 100, kHourMs, "ms", "Time that one of them may take."),
    number(INT64(server.fork_calls_max), 0, 1'000'000, "calls",
           "Calls that a fork may take over from its source."),
    text(TEXT(server.api_token_file),
         "File with the bearer token every request must carry; empty asks for none."),
    list(LIST(server.allowed_hosts),
         "Host names, besides addresses and localhost, that requests may name in Host."),
    text(TEXT(server.public_url),
         "Base URL at which the world reaches this server, for webhooks; empty is where it "
         "listens."),
};

constexpr Setting kChainAndStore[] = {
    text(TEXT(chain.url), "Base URL that chain requests go to; empty is this server itself."),
    boolean(BOOL(chain.enabled),
            "Whether a stack run fires the next over HTTP; without it only the sweep does."),
    text(TEXT(chain.key_file),
         "File with the key that signs chain requests; empty is chain.key beside the database."),
    number(INT(chain.connections), 1, 1'024, "connections",
           "Connections kept open for chain requests."),
    number(INT(chain.queue_max), 1, 10'000'000, "requests",
           "Chain requests waiting for a connection; more are left to the sweep."),
    number(INT64(chain.timeout_ms), 100, kHourMs, "ms", "Time for a chain request's answer."),
    number(INT(chain.claims_max), 1, 10'000, "claims",
           "Received chain requests that ask the store for their work at the same time."),
    number(INT(chain.hints_max), 1, 10'000'000, "requests",
           "Received chain requests that wait to ask the store; more are answered 429."),
    choice(TEXT(store.kind), kStoreKinds, "Kind of store."),
    text(TEXT(store.path), "Database file of the SQLite store; its folder is the data folder."),
    text(TEXT(store.url), "URL of the PostgreSQL database, as libpq takes it.", Exposure::secret),
    text(TEXT(store.url_file), "File that holds store.url, so that no password is in a setting."),
    number(INT64(store.lease_ms), 1'000, kHourMs, "ms",
           "Time a claimed stack run is held unless extended; a dead node's work waits as long."),
    number(INT64(store.sweep_ms), 0, kHourMs, "ms",
           "Pause between passes that fire what a lost chain request left; 0 is never (tests)."),
    number(INT64(store.upkeep_ms), 100, kHourMs, "ms",
           "Pause between looks at what keeps the store from cleaning up, and at its clock."),
    number(INT(store.sqlite.readers), 1, 64, "threads",
           "Threads with a read-only connection each."),
    number(INT(store.sqlite.queue_max), 1, 10'000'000, "transitions",
           "Transitions waiting for the writer; more are refused as overloaded."),
    number(INT(store.sqlite.batch_max), 1, 100'000, "transitions",
           "Transitions that share one commit."),
    number(INT64(store.sqlite.wal_checkpoint_pages), 100, 10'000'000, "pages",
           "Length of the write-ahead log at which it is folded into the database."),
    number(INT64(store.sqlite.cache_kib), 64, 16 * kMiB, "KiB", "Page cache of the writer."),
    number(INT64(store.sqlite.size_bytes_max), 0, 256 * kTiB, "bytes",
           "Size the database file may reach; 0 is as large as the disk allows."),
    number(INT64(store.sqlite.log_bytes_warn), 1 * kMiB, kTiB, "bytes",
           "Length of the write-ahead log above which the server warns of a long-lived reader."),
    text(TEXT(store.postgres.schema), "Schema that holds the tables; created if missing."),
    number(INT(store.postgres.connections), 1, 256, "connections",
           "Connections for transitions; one more renews leases, one more listens."),
    number(INT(store.postgres.readers), 1, 64, "connections", "Connections for reads."),
    number(INT(store.postgres.queue_max), 1, 10'000'000, "transitions",
           "Transitions waiting for a connection; more are refused as overloaded."),
    number(INT64(store.postgres.connect_timeout_ms), 100, kMinuteMs, "ms",
           "Time for a connection to be made."),
    number(INT64(store.postgres.statement_timeout_ms), 100, 10 * kMinuteMs, "ms",
           "Time for a statement."),
    number(INT64(store.postgres.lock_timeout_ms), 100, 10 * kMinuteMs, "ms",
           "Time for a row lock."),
    number(INT64(store.postgres.idle_in_transaction_timeout_ms), 100, 10 * kMinuteMs, "ms",
           "Time after which the server ends a transaction whose node has gone silent."),
    number(INT64(store.postgres.tcp_user_timeout_ms), 100, 10 * kMinuteMs, "ms",
           "Time after which either side gives up a connection that acknowledges nothing."),
    boolean(BOOL(store.postgres.strict),
            "Refuse a server that acknowledges commits before they are on disk; stop if it lost "
            "any."),
    boolean(BOOL(store.postgres.prepare),
            "Prepare statements; off for a pooler in transaction mode that cannot carry them."),
    boolean(BOOL(store.postgres.listen),
            "Hear what other nodes did; off for a pooler in transaction mode."),
    number(INT(store.postgres.xmin_age_warn), 1, 2'000'000'000, "transactions",
           "Age of the oldest snapshot held by anybody above which the server warns."),
};

constexpr Setting kEngineAndLimits[] = {
    text(TEXT(engine.path),
         "The engine's executable; empty is sequential-engine beside this program."),
    number(INT(engine.processes), 0, 256, "processes", "Engine processes; 0 is one per core."),
    number(INT(engine.queue_max), 1, 10'000'000, "slices", "Slices waiting for an engine, in all."),
    number(INT(engine.warm_runs_max), 0, 10'000'000, "runs",
           "Suspended runs kept in memory, in all; others resume by replay."),
    number(INT64(engine.warm_bytes_max), 16 * kMiB, kTiB, "bytes",
           "Memory of all engines' heaps above which warm runs are evicted."),
    number(INT(engine.runs_per_isolate), 1, 1'000, "runs", "Runs of one version per V8 isolate."),
    boolean(BOOL(engine.jit),
            "Whether V8 compiles to machine code; off is slower and safer for hostile code."),
    boolean(BOOL(engine.evict_always),
            "Forget a run's memory after every slice, so that every resume is a replay (tests)."),
    number(INT64(engine.start_timeout_ms), 100, 10 * kMinuteMs, "ms",
           "Time for an engine process to start."),
    number(INT(engine.restarts_per_minute_max), 1, 100'000, "restarts",
           "Engine starts per minute; above it the next start waits."),
    number(INT(engine.crashes_max), 1, 1'000, "crashes",
           "Engine deaths without progress after which a run is paused as poison."),
    number(INT64(limits.heap_bytes), 8 * kMiB, 16 * kGiB, "bytes", "V8 heap of an isolate."),
    number(INT64(limits.buffer_bytes), 0, 16 * kGiB, "bytes", "ArrayBuffers of an isolate."),
    number(INT64(limits.cpu_ms), 1, kHourMs, "ms",
           "CPU time of task code between two suspensions."),
    number(INT64(limits.wall_ms), 1, kHourMs, "ms",
           "Wall time of task code between two suspensions."),
    number(INT64(limits.hard_kill_ms), 1, kMinuteMs, "ms",
           "Time after a soft limit until the engine process is killed."),
    number(INT64(limits.calls_in_flight), 1, 1'000'000, "calls",
           "Calls of one run that may be unanswered at the same time."),
    number(INT64(limits.payload_bytes), 1 * kKiB, 256 * kMiB, "bytes",
           "One call's arguments, one result, one error, or one run's input."),
    number(INT64(limits.log_entries_per_slice), 0, 1'000'000, "entries",
           "Console lines kept of one slice; the rest are dropped, with one line saying so."),
    number(INT64(limits.log_message_bytes), 64, 1 * kMiB, "bytes",
           "Length of a console line; longer ones are cut."),
    number(INT64(limits.status_bytes), 64, 256 * kKiB, "bytes",
           "JSON of a run's status, and of its progress with the message."),
    number(INT64(limits.attributes), 0, 100, "attributes",
           "Attributes of a run; a lower limit holds for runs under way, too."),
    number(INT64(limits.attribute_chars), 1, 340, "characters",
           "Length of an attribute's text, in UTF-16 units."),
    number(INT64(limits.attributes_chars), 2, 64 * kKiB, "characters",
           "JSON of the attributes set at once; never more than limits.log_message_bytes."),
    number(INT64(limits.signals_kept), 1, 1'000'000, "signals",
           "Signals of one run that wait to be taken; above it sending fails."),
    number(INT64(limits.signal_bytes), 64, 32 * kMiB, "bytes",
           "Body of a signal, or of a request to a webhook."),
    number(INT64(limits.frame_bytes), 1 * kMiB, 1 * kGiB, "bytes",
           "One message between server and engine."),
    number(INT64(limits.child_depth), 1, 100'000, "runs",
           "Runs that wait for each other in a row: a task that calls a task, and so on."),
    number(INT(schedules.max), 1, 1'000'000, "schedules", "Schedules that may be stored."),
    number(INT(schedules.catch_up_max), 1, 100'000, "ticks",
           "Missed ticks that a schedule with catch_up all makes up, the newest ones."),
    number(INT(schedules.backfill_max), 1, 100'000, "runs", "Runs that one backfill may start."),
    number(INT64(limits.cancel_grace_ms), 0, 24 * kHourMs, "ms",
           "Time that a cancelled run has to end by itself, if the request names none."),
};

constexpr std::int64_t kCenturyMs = 100ll * 366 * 24 * kHourMs;

constexpr Setting kSearchAndRetention[] = {
    number(INT(search.rows_max), 100, 1'000'000, "runs",
           "Runs that one search request looks at when no index leads to what it asks for."),
    number(INT(search.tags_max), 0, 1'000, "tags", "Tags of a run."),
    number(INT64(retention.completed_ms), 0, kCenturyMs, "ms",
           "Time after its end that a completed run is kept, unless its task says otherwise; 0 is "
           "for ever."),
    number(INT64(retention.failed_ms), 0, kCenturyMs, "ms",
           "The same for runs that failed or were cancelled; 0 is for ever."),
    number(INT64(retention.pass_ms), 0, 24 * kHourMs, "ms",
           "Pause between passes that remove runs that are too old; 0 is never."),
    number(INT(retention.batch), 1, 10'000, "runs", "Old runs removed in one transaction."),
};

constexpr Setting kServicesAndLog[] = {
    text(TEXT(keystore.key_file),
         "File with the key that seals secrets; empty is keystore.key beside the database."),
    text(TEXT(services.gapi.endpoint),
         "URL template of Google's APIs and token endpoint; {host} is replaced."),
    number(INT64(services.gapi.response_bytes_max), 1 * kKiB, 256 * kMiB, "bytes",
           "Answer of a Google API."),
    list(LIST(services.http.allow_hosts),
         "Hosts (host or host:port) that calls may reach though their address is private."),
    number(INT(services.http.redirects_max), 0, 20, "redirects", "Redirects that fetch follows."),
    number(INT64(services.http.response_bytes_max), 1 * kKiB, 256 * kMiB, "bytes",
           "Answer to a fetch."),
    number(INT(services.http.connections_max), 1, 100'000, "connections",
           "Outbound connections, in all."),
    number(INT(services.http.connections_per_host_max), 1, 100'000, "connections",
           "Outbound connections to one host."),
    number(INT(services.http.queue_max), 1, 10'000'000, "requests",
           "Outbound requests waiting for a connection."),
    text(TEXT(services.http.proxy),
         "Proxy URL for outbound requests, perhaps with a password; empty is none.",
         Exposure::secret),
    text(TEXT(services.http.ca_file),
         "File with the certificate authorities to trust; empty is the system's."),
    list(LIST(services.keystore.readable),
         "Keystore namespaces, or namespace/key, that task code may read with getKey."),
    boolean(BOOL(services.keystore.writable), "Whether task code may store secrets with setKey."),
    choice(TEXT(log.level), kLogLevels, "Least important level that is logged."),
    choice(TEXT(log.format), kLogFormats,
           "Form of log lines; automatic is text on a terminal and JSON otherwise."),
};

#undef AT
#undef INT
#undef INT64
#undef TEXT
#undef BOOL
#undef LIST

constexpr std::size_t kCount = std::size(kServer) + std::size(kChainAndStore) +
                               std::size(kEngineAndLimits) + std::size(kSearchAndRetention) +
                               std::size(kServicesAndLog);

constexpr auto kSettings = [] {
  std::array<Setting, kCount> all{};
  std::size_t count = 0;
  for (const Setting& setting : kServer) all[count++] = setting;
  for (const Setting& setting : kChainAndStore) all[count++] = setting;
  for (const Setting& setting : kEngineAndLimits) all[count++] = setting;
  for (const Setting& setting : kSearchAndRetention) all[count++] = setting;
  for (const Setting& setting : kServicesAndLog) all[count++] = setting;
  return all;
}();

}  // namespace

std::span<const Setting> settings() { return kSettings; }

const Setting* find_setting(std::string_view path) {
  for (const Setting& setting : kSettings) {
    if (setting.path == path) return &setting;
  }
  return nullptr;
}

std::string environment_name(std::string_view path) {
  std::string name = "SEQUENTIAL_";
  for (const char c : path) {
    const bool lower = c >= 'a' && c <= 'z';
    name.push_back(c == '.' ? '_' : lower ? static_cast<char>(c - 'a' + 'A') : c);
  }
  return name;
}

}  // namespace sequential::config
