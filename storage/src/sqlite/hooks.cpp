// What belongs to a run and is kept in step with it.

#include "sqlite/signals.h"
#include "sqlite/transaction.h"

namespace sequential::storage::sqlite {

void run_submitted(Transaction& /*tx*/, TaskRunId /*run*/, std::string_view /*tags*/,
                   WallTime /*now*/) {}

void logs_stored(Transaction& /*tx*/, TaskRunId /*run*/, std::int64_t /*before*/,
                 const std::vector<NewLog>& /*logs*/, WallTime /*at*/) {}

void run_over(Transaction& tx, TaskRunId run, RunStatus status, WallTime at) {
  note_orphans(tx, run, status);

  signals_run_over(tx, run, at);
}

}  // namespace sequential::storage::sqlite
