#include "postgres/upkeep.h"

namespace sequential::storage::postgres {

// Rows that were updated or deleted since the oldest snapshot was taken cannot be vacuumed, and
// whoever looks for work reads past them. A snapshot is held by a session in the middle of a
// transaction (of this database, or of a standby with feedback), by a prepared transaction or by a
// replication slot. Vacuuming holds one too, which keeps nobody from cleaning up. What a session is
// doing is shown to few; that it holds a snapshot is shown to all.
Answered<Upkeep> upkeep(const Try& attempt) {
  static const Statement statement(
      "SELECT floor(date_part('epoch', clock_timestamp()) * 1000)::bigint,"
      " coalesce(h.age, 0)::bigint, coalesce(h.holder, '')"
      " FROM (SELECT 1) one LEFT JOIN (SELECT * FROM ("
      " SELECT age(backend_xmin) AS age, 'session ' || pid ||"
      "   coalesce(' of ' || nullif(application_name, ''), '') AS holder"
      " FROM pg_stat_activity"
      " WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid()"
      "   AND (datname = current_database() OR datname IS NULL)"
      "   AND backend_type <> 'autovacuum worker'"
      " UNION ALL SELECT age(transaction), 'prepared transaction ' || gid"
      " FROM pg_prepared_xacts WHERE database = current_database()"
      " UNION ALL SELECT age(xmin), 'replication slot ' || slot_name"
      " FROM pg_replication_slots WHERE xmin IS NOT NULL) held"
      " ORDER BY age DESC LIMIT 1) h ON true");
  SEQUENTIAL_ROWS(rows, attempt.run(statement, Params()));
  Upkeep found;
  found.now = rows.time(0, 0);
  found.oldest_xmin_age = rows.integer(0, 1);
  found.held_by = rows.text(0, 2);
  return Result<Upkeep>(std::move(found));
}

}  // namespace sequential::storage::postgres
