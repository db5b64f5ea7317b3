// What belongs to a run and is kept in step with it.

#include "sequential/storage/search.h"
#include "sqlite/queues.h"
#include "sqlite/signals.h"
#include "sqlite/transaction.h"

namespace sequential::storage::sqlite {
namespace {

void store_attributes(Transaction& tx, TaskRunId run, const std::vector<NewLog>& logs) {
  for (const NewLog& log : logs) {
    if (log.level != kAttributesLevel) continue;
    tx.sql.drop_attributes.run(run, log.message);
    tx.sql.put_attributes.run(run, log.message);
  }
}

}  // namespace

void run_submitted(Transaction& tx, TaskRunId run, std::string_view tags, WallTime /*now*/) {
  if (!tags.empty()) tx.sql.put_tags.run(run, tags);
  tx.sql.put_child.run(run);
}

void logs_stored(Transaction& tx, TaskRunId run, std::int64_t /*before*/,
                 const std::vector<NewLog>& logs, WallTime /*at*/) {
  store_attributes(tx, run, logs);
}

void run_over(Transaction& tx, TaskRunId run, RunStatus status, WallTime at) {
  if (status == RunStatus::cancelled) note_orphans(tx, run, Noted::all);
  signals_run_over(tx, run, at);
  queue_over(tx, run);
}

}  // namespace sequential::storage::sqlite
