#pragma once
// The transitions of signals and webhooks, and their SQL.

#include "sequential/storage/signals.h"
#include "sqlite/transaction.h"

namespace sequential::storage::sqlite {

Result<SignalTaken> take_signal(Transaction&, const SignalTake&);
Result<SignalSent> send_signal(Transaction&, const SignalSend&);
Result<OutcomeRecorded> create_webhook(Transaction&, const WebhookNew&);
Result<SignalSent> answer_webhook(Transaction&, const WebhookAnswer&);

// Hook: calls that wait are let go, to their own recorded end.
void signals_run_over(Transaction& tx, TaskRunId run, WallTime at);

}  // namespace sequential::storage::sqlite
