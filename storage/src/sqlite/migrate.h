#pragma once
// Brings a database to the schema of this binary, or says why it cannot. What was applied is in
// the table `schema_migrations (version, name, sha256, applied_at)`; the rules are in
// migrations/README.md.

#include <span>
#include <string_view>

#include "sequential/base/clock.h"
#include "sequential/base/error.h"
#include "sqlite/connection.h"

namespace sequential::storage::sqlite {

struct Migration {
  int version = 0;  // 1, 2, 3 …
  std::string_view name;
  std::string_view sql;
  std::string_view sha256;  // lower-case hex, of `sql`
};

// Those of migrations/sqlite, built into the binary.
std::span<const Migration> embedded_migrations();

// Applies what is missing, each in a transaction of its own, so that a crash loses at most the one
// under way and the next start goes on. Answers the newest version. Errors: schema_newer if the
// database has one that `migrations` lacks at its end; corrupt if an applied one differs, or is
// missing, or if the file holds tables but no record of migrations; unavailable.
Result<int> migrate(Connection& connection, std::span<const Migration> migrations,
                    const Clock& clock);

}  // namespace sequential::storage::sqlite
