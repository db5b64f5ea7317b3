#include "postgres/link.h"

#include <algorithm>
#include <utility>

#include "postgres/jitter.h"
#include "sequential/base/log.h"

namespace sequential::storage::postgres {
namespace {

constexpr Millis kPauseMin{20}, kPauseMax{1'000};
constexpr Millis kGrace{5'000};  // beyond statement_timeout, before a connection is cut

bool starts(std::string_view text, std::string_view with) {
  return text.substr(0, with.size()) == with;
}

}  // namespace

Link::Link(const PostgresOptions& options, Conninfo conninfo, const Clock& clock)
    : options_(options),
      conninfo_(std::move(conninfo)),
      clock_(clock),
      deadlines_(clock),
      history_(options.schema, options.strict, clock),
      prepare_(options.prepare) {}

ConnectionOptions Link::how() const {
  return {bare_.load() ? conninfo_.bare : conninfo_.keywords, conninfo_.password,
          options_.statement_timeout + kGrace};
}

Answer<std::unique_ptr<Connection>> Link::connect() {
  {
    const std::lock_guard lock(mutex_);
    if (failures_ > 0 && clock_.monotonic() < not_before_) return last_error_;
  }
  auto opened = open_and_look();
  const std::lock_guard lock(mutex_);
  if (const auto* error = std::get_if<DbError>(&opened)) {
    last_error_ = *error;
    if (failures_ == 0) log_warn("the database cannot be reached", {{"reason", error->message}});
    failures_ = std::min(failures_ + 1, 16);
    not_before_ = clock_.monotonic() + jittered(std::min(kPauseMin * (1 << failures_), kPauseMax));
  } else if (std::exchange(failures_, 0) > 0) {
    log_info("the database is reached again");
  }
  return opened;
}

Answer<std::unique_ptr<Connection>> Link::open_and_look() {
  const std::uint64_t era = history_.era();
  auto opened = Connection::open(how(), deadlines_);
  if (const auto* error = std::get_if<DbError>(&opened)) {
    const bool refused_settings =
        error->message.find("unsupported startup parameter") != std::string::npos;
    if (!refused_settings || bare_.exchange(true)) return opened;
    opened = Connection::open(how(), deadlines_);
    if (std::holds_alternative<DbError>(opened)) return opened;
  }
  auto& connection = *std::get<std::unique_ptr<Connection>>(opened);
  if (auto error = look(connection)) return *std::move(error);
  if (auto error = history_.look(connection, true)) return *std::move(error);
  connection.era = era;
  return opened;
}

std::optional<DbError> Link::look(Connection& connection) {
  static const Statement facts(
      "SELECT (SELECT setting FROM pg_settings WHERE name = 'statement_timeout'),"
      " pg_is_in_recovery(), current_setting('fsync'), current_setting('full_page_writes'),"
      " current_setting('synchronous_commit')");
  auto answer = connection.run(facts, Params(), false);
  if (const auto* error = std::get_if<DbError>(&answer)) {
    return DbError{DbError::Fate::disconnected, error->sqlstate, error->message};
  }
  const Rows& rows = std::get<Rows>(answer);
  if (rows.boolean(0, 1)) {
    return DbError{DbError::Fate::disconnected, "25006",
                   "the server is a standby: nothing can be written to it"};
  }
  // Behind a pooler in transaction mode session settings do not hold. What the transitions need
  // of them (a bound on waiting for locks) they then set by themselves, per transaction.
  const bool held = rows.text(0, 0) == std::to_string(options_.statement_timeout.count());
  lock_ms_ = held ? 0 : static_cast<int>(options_.lock_timeout.count());
  if (held) {
    // Not every platform can: without it a server notices later that its client is gone.
    static const Statement check(
        "SELECT set_config('client_connection_check_interval', '5000', false)");
    auto set = connection.run(check, Params(), false);
    const auto* error = std::get_if<DbError>(&set);
    if (error != nullptr && error->fate != DbError::Fate::refused) return *error;
  }
  const std::lock_guard lock(mutex_);
  facts_ = {rows.text(0, 2), rows.text(0, 3), rows.text(0, 4)};
  return std::nullopt;
}

Result<void> Link::check_durability() const {
  Facts facts;
  {
    const std::lock_guard lock(mutex_);
    facts = facts_;
  }
  std::string off;
  for (const auto& [name, value] : {std::pair{"fsync", facts.fsync},
                                    std::pair{"full_page_writes", facts.full_page_writes},
                                    std::pair{"synchronous_commit", facts.synchronous_commit}}) {
    if (value == "off") off += (off.empty() ? "" : ", ") + std::string(name) + "=off";
  }
  if (off.empty()) return success();
  if (!options_.strict) {
    log_warn("the database may lose acknowledged commits in a crash", {{"settings", off}});
    return success();
  }
  return Error(Errc::config_invalid,
               "the database server has " + off +
                   ": it acknowledges commits that a crash may lose. Turn it on, or accept the "
                   "loss with strict off");
}

void Link::stop_preparing() {
  if (!prepare_.exchange(false)) return;
  log_warn("the database connection does not keep prepared statements (a pooler in transaction "
           "mode): statements are sent with their text");
}

Error to_error(const DbError& error) {
  const std::string& s = error.sqlstate;
  const std::string told = s.empty() ? error.message : error.message + " (SQLSTATE " + s + ")";
  using Fate = DbError::Fate;
  if (error.fate != Fate::refused) return {Errc::unavailable, "the database: " + told};
  if (starts(s, "XX") || s == "42P01" || s == "42883" || s == "42703" || s == "3F000") {
    return {Errc::corrupt, "the database is not as we left it: " + told};
  }
  // Data that it will never take: trying again would not help.
  if (starts(s, "22") || starts(s, "23") || starts(s, "54")) {
    return {Errc::internal, "the database refused the data: " + told};
  }
  return {Errc::unavailable, "the database: " + told};
}

}  // namespace sequential::storage::postgres
