#pragma once
// What foreign keys, counters and index columns must say in a schema of the PostgreSQL store.

#include <pqxx/pqxx>
#include <string>

namespace sequential::storage::test {

// Empty if nothing is wrong. The connection's search_path is changed to the schema.
std::string postgres_damage(pqxx::connection& connection, const std::string& schema);

}  // namespace sequential::storage::test
