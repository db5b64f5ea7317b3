#pragma once
// The transitions and reads of Cancellation (storage/cancellation.h), as those of transitions.h.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "postgres/transitions.h"
#include "sequential/storage/cancellation.h"

namespace sequential::storage::postgres {

struct CancellationStatements {
  explicit CancellationStatements(const std::string& schema);
  Statement request, drop_calls, due, cancelling;
};

Answered<CancelRequested> request_cancel(const Try&, const CancellationStatements&,
                                         const CancelRequest&);
Answered<std::int64_t> drop_calls(const Try&, const CancellationStatements&, const Grant& root,
                                  const std::vector<std::int64_t>& seqs);
Answered<CancelsDue> cancels_due(const Try&, const CancellationStatements&, int limit);
Answered<std::optional<Cancelling>> cancelling(const Try&, const CancellationStatements&,
                                               TaskRunId);

}  // namespace sequential::storage::postgres
