#include "postgres/conninfo.h"

#include <libpq-fe.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string_view>

namespace sequential::storage::postgres {
namespace {

constexpr int kKeepaliveIdleSeconds = 5, kKeepaliveIntervalSeconds = 2, kKeepaliveCount = 3;

using Keywords = std::map<std::string, std::string>;

std::string in_quotes(std::string_view value) {
  std::string out = "'";
  for (const char c : value) {
    if (c == '\'' || c == '\\') out += '\\';
    out += c;
  }
  return out + "'";
}

std::string joined(const Keywords& keywords) {
  std::string out;
  for (const auto& [key, value] : keywords) out += key + "=" + in_quotes(value) + " ";
  return out;
}

Result<Keywords> parsed(const std::string& url) {
  struct Free {
    void operator()(PQconninfoOption* o) const { PQconninfoFree(o); }
  };
  char* reason = nullptr;
  const std::unique_ptr<PQconninfoOption, Free> options(PQconninfoParse(url.c_str(), &reason));
  if (reason != nullptr) PQfreemem(reason);  // it may quote the password
  if (!options) {
    return Error(Errc::config_invalid,
                 "the database URL is not one that libpq understands: write "
                 "postgresql://user:password@host:5432/database, with special characters of the "
                 "password percent-encoded");
  }
  Keywords keywords;
  for (const PQconninfoOption* o = options.get(); o->keyword != nullptr; ++o) {
    if (o->val != nullptr && *o->val != '\0') keywords[o->keyword] = o->val;
  }
  return keywords;
}

std::string ms(Millis value) { return std::to_string(value.count()); }

// Given with the connection's first message, so that no statement ever runs without them.
std::string session_settings(const PostgresOptions& options) {
  return "-c statement_timeout=" + ms(options.statement_timeout) +
         " -c lock_timeout=" + ms(options.lock_timeout) +
         " -c idle_in_transaction_session_timeout=" + ms(options.idle_in_transaction_timeout) +
         // The server's own, on TCP: a client that is cut off, or reads no more, in the middle of a
         // large answer would otherwise keep its row locks for as long as the kernel is patient.
         " -c tcp_keepalives_idle=" + std::to_string(kKeepaliveIdleSeconds) +
         " -c tcp_keepalives_interval=" + std::to_string(kKeepaliveIntervalSeconds) +
         " -c tcp_keepalives_count=" + std::to_string(kKeepaliveCount) +
         " -c tcp_user_timeout=" + ms(options.tcp_user_timeout) +
         " -c default_transaction_isolation=read\\ committed -c bytea_output=hex -c jit=off"
         " -c enable_seqscan=off" +
         " -c client_min_messages=warning";
}

std::string value_or(const Keywords& keywords, const char* key, std::string otherwise) {
  const auto found = keywords.find(key);
  return found == keywords.end() ? std::move(otherwise) : found->second;
}

bool valid_schema(std::string_view schema) {
  const auto letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  };
  return !schema.empty() && schema.size() <= 63 && letter(schema[0]) &&
         schema.substr(0, 3) != "pg_" &&
         std::all_of(schema.begin(), schema.end(),
                     [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

}  // namespace

Result<Conninfo> read_conninfo(const PostgresOptions& options) {
  if (!valid_schema(options.schema)) {
    return Error(Errc::config_invalid,
                 "the database schema's name must be letters, digits and underscores, at most 63, "
                 "and not begin with a digit or with pg_");
  }
  SEQUENTIAL_TRY(Keywords keywords, parsed(options.url));
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(options.connect_timeout).count();
  keywords["connect_timeout"] = std::to_string(std::max<std::int64_t>(seconds, 2));
  keywords["client_encoding"] = "UTF8";
  keywords["target_session_attrs"] = "read-write";
  keywords["keepalives"] = "1";
  keywords["keepalives_idle"] = std::to_string(kKeepaliveIdleSeconds);
  keywords["keepalives_interval"] = std::to_string(kKeepaliveIntervalSeconds);
  keywords["keepalives_count"] = std::to_string(kKeepaliveCount);
  keywords["tcp_user_timeout"] = ms(options.tcp_user_timeout);
  keywords.try_emplace("application_name", "sequential-runner");

  Conninfo info;
  info.bare = joined(keywords);
  // What a person asks for in the URL comes later, and so wins.
  keywords["options"] = session_settings(options) + " " + value_or(keywords, "options", "");
  info.keywords = joined(keywords);
  info.password = value_or(keywords, "password", "");
  const std::string host = value_or(keywords, "host", value_or(keywords, "hostaddr", "localhost"));
  info.location = "postgresql://" + host + ":" + value_or(keywords, "port", "5432") + "/" +
                  value_or(keywords, "dbname", value_or(keywords, "user", "")) + " (schema " +
                  options.schema + ")";
  return info;
}

}  // namespace sequential::storage::postgres
