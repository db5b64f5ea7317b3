#include "work/journal_source.h"

#include <utility>

#include "sequential/base/fault.h"

namespace sequential::server {

engine::Delivered to_delivered(storage::Outcome outcome) {
  engine::Delivered delivered;
  delivered.seq = outcome.seq;
  delivered.delivered_as = outcome.delivered_as;
  delivered.failed = outcome.failed;
  delivered.payload = std::move(outcome.payload);
  delivered.at_ms = outcome.at.ms;
  return delivered;
}

namespace {

class StoreJournal final : public engine::JournalSource,
                           public std::enable_shared_from_this<StoreJournal> {
 public:
  StoreJournal(storage::Store& store, TaskRunId run, std::int64_t through, std::int64_t page_bytes)
      : store_(store), run_(run), through_(through), page_bytes_(page_bytes) {}

  void next(std::function<void(Result<engine::RecordedPage>)> done) override {
    auto self = shared_from_this();
    store_.journal(run_, after_seq_, page_bytes_,
                   [self, done = std::move(done)](Result<storage::JournalPage> page) {
                     done(self->convert(std::move(page)));
                   });
  }

 private:
  Result<engine::RecordedPage> convert(Result<storage::JournalPage> page) {
    if (page.has_error()) return std::move(page).error();
    FAULT_POINT("replay.midway");
    engine::RecordedPage out;
    out.more = page.value().more;
    out.rows.reserve(page.value().rows.size());
    for (auto& row : page.value().rows) {
      engine::RecordedCall call;
      call.seq = after_seq_ = row.seq;
      call.service = std::move(row.service_name);
      call.method = std::move(row.method_name);
      call.args = std::move(row.args);
      if (row.outcome && row.outcome->delivered_as <= through_) {
        call.outcome = to_delivered(std::move(*row.outcome));
      }
      // A request to end from after that is none yet.
      if (call.seq == 0 && !call.outcome) continue;
      out.rows.push_back(std::move(call));
    }
    return out;
  }

  storage::Store& store_;
  const TaskRunId run_;
  const std::int64_t through_;
  const std::int64_t page_bytes_;
  std::int64_t after_seq_ = -1;  // touched only between one answer and the next request
};

}  // namespace

std::shared_ptr<engine::JournalSource> make_journal_source(storage::Store& store, TaskRunId run,
                                                           std::int64_t delivered_through,
                                                           std::int64_t page_bytes) {
  return std::make_shared<StoreJournal>(store, run, delivered_through, page_bytes);
}

}  // namespace sequential::server
