#pragma once
// Brings a schema to that of this binary, or says why it cannot. What was applied is in its table
// `schema_migrations (version, name, sha256, applied_at, program, compatible_from)`; the rules are
// in migrations/README.md.

#include <span>
#include <string>

#include "migrations.h"
#include "postgres/connection.h"
#include "sequential/base/clock.h"
#include "sequential/base/error.h"

namespace sequential::storage::postgres {

using storage::Migration;

// Those of migrations/postgres, built into the binary.
std::span<const Migration> embedded_migrations();

// Applies what is missing, each in a transaction of its own that holds the schema's advisory lock,
// so that nodes that start together take turns. Nodes at work go on meanwhile: a migration waits
// two seconds for a lock that they would queue up behind, then lets go and tries again. Answers the
// schema's level, which is higher than that of `migrations` if a newer release was here and left
// them what they need. Errors: schema_newer if it did not; in_use if nodes are connected that a
// migration would cut off; corrupt if an applied one differs or is missing, or the schema holds
// tables but no record of migrations; unavailable.
Result<int> migrate(Connection& connection, const std::string& schema,
                    std::span<const Migration> migrations, const Clock& clock);

}  // namespace sequential::storage::postgres
