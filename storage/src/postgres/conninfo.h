#pragma once
// The connection string a person gives, and the one that is used.

#include <string>

#include "sequential/base/error.h"
#include "sequential/storage/postgres.h"

namespace sequential::storage::postgres {

struct Conninfo {
  std::string keywords;  // for libpq; with the password
  std::string bare;      // the same without session settings: a pooler may refuse those
  std::string password;  // to keep out of messages; empty if none was given here
  std::string location;  // for people: postgresql://host:port/database (schema s)
};

// Errors: config_invalid, never quoting the string.
Result<Conninfo> read_conninfo(const PostgresOptions& options);

}  // namespace sequential::storage::postgres
