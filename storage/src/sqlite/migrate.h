#pragma once
// Brings a database to the schema of this binary, or says why it cannot. What was applied is in
// the table `schema_migrations (version, name, sha256, applied_at, program, compatible_from)`; the
// rules are in migrations/README.md.

#include <span>

#include "migrations.h"
#include "sequential/base/clock.h"
#include "sequential/base/error.h"
#include "sqlite/connection.h"

namespace sequential::storage::sqlite {

using storage::Migration;

// Those of migrations/sqlite, built into the binary.
std::span<const Migration> embedded_migrations();

// Applies what is missing, each in a transaction of its own, so that a crash loses at most the one
// under way and the next start goes on. Answers the schema's level, which is higher than that of
// `migrations` if a newer release was here and left them what they need. Errors: schema_newer if it
// did not; corrupt if an applied one differs, or is missing, or if the file holds tables but no
// record of migrations; unavailable.
Result<int> migrate(Connection& connection, std::span<const Migration> migrations,
                    const Clock& clock);

}  // namespace sequential::storage::sqlite
