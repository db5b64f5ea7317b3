#include "postgres/open.h"

#include <utility>

#include "postgres/postgres_store.h"

namespace sequential::storage {
namespace postgres {
namespace {

constexpr int kConnectionsMax = 256, kReadersMax = 64;

Result<void> check_options(const PostgresOptions& options) {
  const auto positive = [](Millis length) { return length.count() > 0; };
  if (options.connections < 1 || options.connections > kConnectionsMax || options.readers < 1 ||
      options.readers > kReadersMax || options.queue_max < 1 ||
      !positive(options.connect_timeout) || !positive(options.statement_timeout) ||
      !positive(options.lock_timeout) || !positive(options.idle_in_transaction_timeout) ||
      !positive(options.tcp_user_timeout) || !positive(options.unknown_patience)) {
    return Error(Errc::config_invalid,
                 "the database needs 1 to 256 connections, 1 to 64 readers, and limits and "
                 "timeouts above zero");
  }
  return success();
}

Result<TaskRunId> newest_run(Connection& connection, const PostgresOptions& options) {
  auto answer = connection.script(
      "SELECT last_value FROM \"" + options.schema + "\".task_run_ids", options.statement_timeout);
  if (const auto* error = std::get_if<DbError>(&answer)) return to_error(*error);
  // One less: the first value is not given out yet where nothing was.
  return TaskRunId(std::get<Rows>(answer).integer(0, 0) - 1);
}

Result<std::unique_ptr<Store>> open_link(std::unique_ptr<Link> link,
                                         std::span<const Migration> migrations) {
  auto opened = link->connect();
  if (const auto* error = std::get_if<DbError>(&opened)) {
    return Error(Errc::unavailable, error->message);
  }
  SEQUENTIAL_TRY(link->check_durability());
  auto& connection = *std::get<std::unique_ptr<Connection>>(opened);
  SEQUENTIAL_TRY(migrate(connection, link->options().schema, migrations, link->clock()));
  SEQUENTIAL_TRY(const TaskRunId newest, newest_run(connection, link->options()));
  if (const auto error = link->history().begin(connection)) return to_error(*error);
  return std::unique_ptr<Store>(std::make_unique<PostgresStore>(std::move(link), newest));
}

}  // namespace

Result<std::unique_ptr<Store>> open_store(const PostgresOptions& options,
                                          std::span<const Migration> migrations,
                                          const Clock& clock) {
  SEQUENTIAL_TRY(check_options(options));
  SEQUENTIAL_TRY(Conninfo conninfo, read_conninfo(options));
  const std::string location = conninfo.location;
  auto store = open_link(std::make_unique<Link>(options, std::move(conninfo), clock), migrations);
  if (store.has_value()) return store;
  Error error = std::move(store).error();
  error.message = "database " + location + ": " + error.message;
  return error;
}

}  // namespace postgres

Result<std::unique_ptr<Store>> open_postgres(const PostgresOptions& options, const Clock& clock) {
  return postgres::open_store(options, postgres::embedded_migrations(), clock);
}

}  // namespace sequential::storage
