#include "postgres/connection.h"

#include <poll.h>

#include <algorithm>
#include <charconv>
#include <pqxx/pqxx>
#include <unordered_set>
#include <utility>

#include "sequential/base/check.h"

namespace sequential::storage::postgres {

// --- what differs between libpqxx 6.4 and 7.10 ---------------------------------------------------
namespace {

#if PQXX_VERSION_MAJOR >= 7
using WireParams = pqxx::params;

WireParams wire(const Params& params) {
  WireParams out;
  out.reserve(params.values().size());
  for (const std::string& value : params.values()) {
    const auto* const bytes = reinterpret_cast<const std::byte*>(value.data());
    out.append(pqxx::bytes_view(bytes, value.size()));
  }
  return out;
}
pqxx::result run_named(pqxx::transaction_base& tx, const std::string& name, const Params& params) {
  return tx.exec(pqxx::prepped{name}, wire(params));
}
pqxx::result run_text(pqxx::transaction_base& tx, const std::string& sql, const Params& params) {
  return tx.exec(std::string_view(sql), wire(params));
}
void be_quiet(pqxx::connection& connection) {
  connection.set_notice_handler([](pqxx::zview) {});
}
struct Receiver {
  Receiver(pqxx::connection& connection, const std::string& channel,
           std::vector<std::string>& received) {
    connection.listen(channel, [&received](pqxx::notification n) {
      received.emplace_back(n.payload.c_str(), n.payload.size());
    });
  }
};
#else
std::vector<pqxx::binarystring> wire(const Params& params) {
  std::vector<pqxx::binarystring> out;
  out.reserve(params.values().size());
  for (const std::string& value : params.values()) out.emplace_back(value.data(), value.size());
  return out;
}
pqxx::result run_named(pqxx::transaction_base& tx, const std::string& name, const Params& params) {
  return tx.exec_prepared(name, pqxx::prepare::make_dynamic_params(wire(params)));
}
pqxx::result run_text(pqxx::transaction_base& tx, const std::string& sql, const Params& params) {
  return tx.exec_params(sql, pqxx::prepare::make_dynamic_params(wire(params)));
}
void be_quiet(pqxx::connection& connection) {
  // It belongs to the connection from here on, which deletes it.
  static_cast<void>(new pqxx::quiet_errorhandler(connection));
}
class Receiver final : public pqxx::notification_receiver {
 public:
  Receiver(pqxx::connection& connection, const std::string& channel,
           std::vector<std::string>& received)
      : pqxx::notification_receiver(connection, channel), received_(received) {}
  void operator()(const std::string& payload, int /*backend*/) override {
    received_.push_back(payload);
  }

 private:
  std::vector<std::string>& received_;
};
#endif

// libpqxx 6 turns some errors into exceptions of their own and drops their code.
std::string sqlstate_of(const pqxx::sql_error& error) {
  if (!error.sqlstate().empty()) return error.sqlstate();
  if (dynamic_cast<const pqxx::insufficient_privilege*>(&error) != nullptr) return "42501";
  if (dynamic_cast<const pqxx::undefined_function*>(&error) != nullptr) return "42883";
  if (dynamic_cast<const pqxx::undefined_table*>(&error) != nullptr) return "42P01";
  if (dynamic_cast<const pqxx::undefined_column*>(&error) != nullptr) return "42703";
  if (dynamic_cast<const pqxx::feature_not_supported*>(&error) != nullptr) return "0A000";
  return "";
}

constexpr int kReadableLooks = 8;  // a server's last words and the end of file come in pieces

// The first line, without the server's prefix and without the password.
std::string tidy(std::string message, const std::string& secret) {
  message.resize(std::min(message.size(), message.find('\n')));
  for (const char* const prefix : {"ERROR:  ", "FATAL:  ", "PANIC:  "}) {
    if (message.rfind(prefix, 0) == 0) message.erase(0, 8);
  }
  if (secret.size() > 1) {
    for (std::size_t at = 0; (at = message.find(secret, at)) != std::string::npos; at += 3) {
      message.replace(at, secret.size(), "***");
    }
  }
  return message;
}

}  // namespace

DbError::Fate fate_of(std::string_view sqlstate, bool connected) {
  using Fate = DbError::Fate;
  // A server that is not, or no longer, the primary: it has refused, and will go on refusing.
  if (sqlstate == "25006") return Fate::disconnected;
  // 57P01 to 57P03: told to stop, crashed, not yet up. The first may come after the commit.
  const bool gone = sqlstate.substr(0, 2) == "08" || sqlstate == "57P01" || sqlstate == "57P02" ||
                    sqlstate == "57P03" || !connected;
  if (sqlstate == "40001" || sqlstate == "40P01" || sqlstate == "55P03") return Fate::again;
  if (sqlstate == "26000" || sqlstate == "42P05") return Fate::unprepared;
  return gone ? Fate::lost : Fate::refused;
}

// --- Rows ----------------------------------------------------------------------------------------

struct Rows::Data {
  pqxx::result result;
};

Rows::Rows(std::shared_ptr<const Data> data) : data_(std::move(data)) {}

std::size_t Rows::size() const { return static_cast<std::size_t>(data_->result.size()); }

bool Rows::null(std::size_t row, int column) const {
  return data_->result[static_cast<pqxx::result::size_type>(row)]
                      [static_cast<pqxx::row::size_type>(column)].is_null();
}

std::string_view Rows::raw(std::size_t row, int column) const {
  SEQUENTIAL_CHECK(row < size());
  const auto field = data_->result[static_cast<pqxx::result::size_type>(row)]
                                  [static_cast<pqxx::row::size_type>(column)];
  if (field.is_null()) return {};
  return {field.c_str(), static_cast<std::size_t>(field.size())};
}

std::int64_t Rows::integer(std::size_t row, int column) const {
  const std::string_view text = raw(row, column);
  std::int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}
int Rows::small(std::size_t row, int column) const {
  return static_cast<int>(integer(row, column));
}
bool Rows::boolean(std::size_t row, int column) const { return raw(row, column) == "t"; }
std::string Rows::text(std::size_t row, int column) const { return std::string(raw(row, column)); }

std::string Rows::bytes(std::size_t row, int column) const {
  const std::string_view text = raw(row, column);
  std::string out;
  if (text.substr(0, 2) == "\\x") {
    const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
    out.resize(text.size() / 2 - 1);
    for (std::size_t i = 0; i < out.size(); ++i) {
      out[i] = static_cast<char>(digit(text[2 * i + 2]) * 16 + digit(text[2 * i + 3]));
    }
    return out;
  }
  // bytea_output = escape: an installation's choice, and a pooler may lose ours.
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      out += text[i];
    } else if (i + 1 < text.size() && text[i + 1] == '\\') {
      out += text[++i];
    } else if (i + 3 < text.size()) {
      const int value = (text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0');
      out += static_cast<char>(value);
      i += 3;
    }
  }
  return out;
}

std::vector<std::int64_t> Rows::integers(std::size_t row, int column) const {
  std::vector<std::int64_t> values;
  const std::string_view text = raw(row, column);  // {1,2,3}
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    std::int64_t value = 0;
    const auto parsed = std::from_chars(at, end, value);
    if (parsed.ec == std::errc()) values.push_back(value);
    at = std::max(parsed.ptr, at + 1);
  }
  return values;
}

std::optional<WallTime> Rows::time_if(std::size_t row, int column) const {
  if (null(row, column)) return std::nullopt;
  return WallTime{integer(row, column)};
}
std::optional<std::int64_t> Rows::integer_if(std::size_t row, int column) const {
  if (null(row, column)) return std::nullopt;
  return integer(row, column);
}

// --- Connection ----------------------------------------------------------------------------------

struct Connection::Impl {
  Impl(const ConnectionOptions& o, Deadlines& d)
      : options(o), deadlines(d), pq(o.conninfo.c_str()) {
    be_quiet(pq);
  }
  bool open() const noexcept { return pq.is_open(); }

  // Runs `use` and says what its exceptions mean.
  template <class Use>
  auto guarded(Use use) -> Answer<decltype(use())> {
    try {
      return use();
    } catch (const pqxx::statement_completion_unknown& e) {
      return DbError{DbError::Fate::lost, "40003", tidy(e.what(), options.secret)};
    } catch (const pqxx::deadlock_detected& e) {  // in 6.4 no sql_error, and without SQLSTATE
      return DbError{DbError::Fate::again, "40P01", tidy(e.what(), options.secret)};
    } catch (const pqxx::transaction_rollback& e) {
      return DbError{DbError::Fate::again, "40001", tidy(e.what(), options.secret)};
    } catch (const pqxx::sql_error& e) {
      const std::string sqlstate = sqlstate_of(e);
      return DbError{fate_of(sqlstate, open()), sqlstate, tidy(e.what(), options.secret)};
    } catch (const pqxx::broken_connection& e) {
      return DbError{DbError::Fate::lost, "", tidy(e.what(), options.secret)};
    } catch (const std::exception& e) {
      const auto fate = open() ? DbError::Fate::refused : DbError::Fate::lost;
      return DbError{fate, "", tidy(e.what(), options.secret)};
    }
  }

  const ConnectionOptions options;
  Deadlines& deadlines;
  pqxx::connection pq;
  std::unordered_set<std::string> prepared;
  std::vector<std::string> received;
  std::unique_ptr<Receiver> receiver;
};

Connection::Connection(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Connection::~Connection() {
  // Giving up LISTEN talks to the server, which may be gone.
  try {
    impl_->receiver.reset();
  } catch (const std::exception&) {
    impl_->received.clear();
  }
}

Answer<std::unique_ptr<Connection>> Connection::open(const ConnectionOptions& options,
                                                     Deadlines& deadlines) {
  try {
    return std::unique_ptr<Connection>(
        new Connection(std::make_unique<Impl>(options, deadlines)));
  } catch (const pqxx::failure& e) {
    return DbError{DbError::Fate::disconnected, "", tidy(e.what(), options.secret)};
  } catch (const std::exception& e) {
    return DbError{DbError::Fate::disconnected, "", tidy(e.what(), options.secret)};
  }
}

Answer<Rows> Connection::run(const Statement& statement, const Params& params, bool prepare) {
  const Deadlines::Watch watch(impl_->deadlines, impl_->pq.sock(),
                               impl_->options.statement_deadline);
  return impl_->guarded([&] {
    if (prepare && !impl_->prepared.contains(statement.name)) {
      impl_->pq.prepare(statement.name, statement.sql);
      impl_->prepared.insert(statement.name);
    }
    pqxx::nontransaction tx(impl_->pq);
    auto result = prepare ? run_named(tx, statement.name, params)
                          : run_text(tx, statement.sql, params);
    return Rows(std::make_shared<Rows::Data>(Rows::Data{std::move(result)}));
  });
}

Answer<Rows> Connection::script(std::string_view sql, Millis deadline) {
  const Deadlines::Watch watch(impl_->deadlines, impl_->pq.sock(), deadline);
  return impl_->guarded([&] {
    pqxx::nontransaction tx(impl_->pq);
    return Rows(std::make_shared<Rows::Data>(Rows::Data{tx.exec(std::string(sql))}));
  });
}

bool Connection::usable() {
  for (int look = 0; look < kReadableLooks && impl_->open(); ++look) {
    pollfd fd{impl_->pq.sock(), POLLIN | POLLRDHUP, 0};
    if (::poll(&fd, 1, 0) <= 0) return true;
    const auto read = impl_->guarded([&] { return impl_->pq.get_notifs(); });
    if (std::holds_alternative<DbError>(read) || (fd.revents & (POLLHUP | POLLERR)) != 0) break;
  }
  return false;
}

std::optional<DbError> Connection::listen(const std::string& channel) {
  const Deadlines::Watch watch(impl_->deadlines, impl_->pq.sock(),
                               impl_->options.statement_deadline);
  const auto listening = impl_->guarded([&] {
    impl_->receiver = std::make_unique<Receiver>(impl_->pq, channel, impl_->received);
    return true;
  });
  if (const auto* error = std::get_if<DbError>(&listening)) return *error;
  return std::nullopt;
}

Answer<std::vector<std::string>> Connection::wait(MonoTime until, int wake_fd) {
  const auto left = std::chrono::ceil<Millis>(until - std::chrono::steady_clock::now());
  pollfd fds[] = {{impl_->pq.sock(), POLLIN, 0}, {wake_fd, POLLIN, 0}};
  ::poll(fds, 2, static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 60'000)));
  return impl_->guarded([&] {
    impl_->pq.get_notifs();
    if (!impl_->open()) throw pqxx::broken_connection("the server closed the connection");
    return std::exchange(impl_->received, {});
  });
}

}  // namespace sequential::storage::postgres
