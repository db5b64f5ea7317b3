#pragma once
// What the stores' migration runners share: what a migration is, which programs may work on a
// schema, and what to say of one that was found. The rules are in migrations/README.md.
//
// A *level* is the number of the newest migration: that a program has, or that a schema has seen.
//
// Threads: pure functions.

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <ctime>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include "sequential/base/error.h"

namespace sequential::storage {

struct Migration {
  int version = 0;  // 1, 2, 3 …
  std::string_view name;
  std::string_view sql;
  std::string_view sha256;  // lower-case hex, of `sql`
};

// A row of schema_migrations.
struct AppliedMigration {
  int version = 0;
  std::string name, sha256;
  std::int64_t applied_at = 0;
  int program = 0;          // level of the program that applied it
  int compatible_from = 0;  // lowest level that may work on the schema from here on
};

inline std::string migration_number(int version) {
  std::string number = std::to_string(version);
  number.insert(0, number.size() < 4 ? 4 - number.size() : 0, '0');
  return number;
}

inline std::string migration_label(int version, std::string_view name) {
  return migration_number(version) + "_" + std::string(name);
}

// The first line of a migration says which programs may go on after it:
//   -- expand                           all that could before: 0
//   -- contract, compatible from 0006   those of level 6 and higher: 6
// Anything else: only those that have this migration.
inline int compatible_level(const Migration& migration) {
  constexpr std::string_view kContract = "-- contract, compatible from ";
  const std::string_view line = migration.sql.substr(0, migration.sql.find('\n'));
  if (line == "-- expand") return 0;
  if (line.substr(0, kContract.size()) != kContract) return migration.version;
  const std::string_view digits = line.substr(kContract.size());
  int level = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), level);
  const bool whole = error == std::errc{} && end == digits.data() + digits.size();
  return whole && level > 0 && level <= migration.version ? level : migration.version;
}

// What is recorded as compatible_from with `next`.
inline int compatible_after(std::span<const AppliedMigration> applied, const Migration& next) {
  const int before = applied.empty() ? 0 : applied.back().compatible_from;
  return std::max(before, compatible_level(next));
}

// Whether `next` takes something away from programs that were at work here, while no program that
// it spares has ever been: then nobody has seen to it that the old ones are gone.
inline bool leaps_over_a_release(std::span<const AppliedMigration> applied, const Migration& next) {
  const int level = compatible_level(next);
  const auto spared = [&](const AppliedMigration& a) {
    return a.program >= level && a.program < next.version;
  };
  const auto cut_off = [&](const AppliedMigration& a) { return a.program < level; };
  return std::none_of(applied.begin(), applied.end(), spared) &&
         std::any_of(applied.begin(), applied.end(), cut_off);
}

inline std::string utc_text(std::int64_t ms) {
  const auto seconds = static_cast<std::time_t>(ms / 1'000);
  std::tm parts{};
  char text[32];
  if (::gmtime_r(&seconds, &parts) == nullptr) return "at an unknown time";
  return {text, std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &parts)};
}

// For a program of level `program`.
inline Error schema_too_new(std::span<const AppliedMigration> applied, int program) {
  const auto at = std::find_if(applied.begin(), applied.end(), [&](const AppliedMigration& a) {
    return a.compatible_from > program;
  });
  return {Errc::schema_newer,
          "a newer release has taken this database over. The database is at schema " +
              migration_number(applied.back().version) + ", this program knows " +
              migration_number(program) + ", and " + migration_label(at->version, at->name) +
              ", applied " + utc_text(at->applied_at) + ", took away what programs below " +
              migration_number(at->compatible_from) +
              " use. Start the newer release; to go back to this one, restore a backup from "
              "before that"};
}

// Whether a program that has `migrations` may work on a schema: what was applied must be the first
// of them, one by one, and what came after that must have left the program what it uses.
inline Result<void> check_applied(std::span<const AppliedMigration> applied,
                                  std::span<const Migration> migrations) {
  for (std::size_t i = 0; i < applied.size(); ++i) {
    const AppliedMigration& a = applied[i];
    const int expected = static_cast<int>(i) + 1;
    if (a.version != expected) {
      return Error(Errc::corrupt, "migration " + std::to_string(expected) +
                                      " is missing from the database's schema_migrations, though "
                                      "later ones are there");
    }
    if (i >= migrations.size()) continue;
    const Migration& m = migrations[i];
    if (a.name != m.name || a.sha256 != m.sha256) {
      return Error(Errc::corrupt,
                   "migration " + migration_label(a.version, a.name) +
                       " was applied to the database with checksum " + a.sha256 +
                       ", but this program has " + migration_label(m.version, m.name) + " with " +
                       std::string(m.sha256) + ": an applied migration must never change");
    }
  }
  const int program = static_cast<int>(migrations.size());
  if (applied.size() > migrations.size() && applied.back().compatible_from > program) {
    return schema_too_new(applied, program);
  }
  return success();
}

}  // namespace sequential::storage
