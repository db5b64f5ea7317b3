#pragma once
// Brings a schema to that of this binary, or says why it cannot. What was applied is in its table
// `schema_migrations (version, name, sha256, applied_at)`; the rules are in migrations/README.md.

#include <span>
#include <string>
#include <string_view>

#include "postgres/connection.h"
#include "sequential/base/clock.h"
#include "sequential/base/error.h"

namespace sequential::storage::postgres {

struct Migration {
  int version = 0;  // 1, 2, 3 …
  std::string_view name;
  std::string_view sql;
  std::string_view sha256;  // lower-case hex, of `sql`
};

// Those of migrations/postgres, built into the binary.
std::span<const Migration> embedded_migrations();

// Applies what is missing, each in a transaction of its own that holds the schema's advisory lock,
// so that nodes that start together take turns. Answers the newest version. Errors: schema_newer;
// corrupt if an applied one differs or is missing, or the schema holds tables but no record of
// migrations; unavailable.
Result<int> migrate(Connection& connection, const std::string& schema,
                    std::span<const Migration> migrations, const Clock& clock);

}  // namespace sequential::storage::postgres
