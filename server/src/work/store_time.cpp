#include "work/store_time.h"

#include <utility>

#include "sequential/storage/schedules.h"

namespace sequential::server {

net::awaitable<Result<WallTime>> store_now(storage::Store& store) {
  if (store.schedules() == nullptr) {
    co_return Error{Errc::unavailable, "this store does not tell the time"};
  }
  auto read = [&store](auto done) { store.schedules()->due(0, std::move(done)); };
  auto found = co_await completes<Result<storage::DueSchedules>>(std::move(read));
  if (found.has_error()) co_return std::move(found).error();
  co_return found.value().now;
}

}  // namespace sequential::server
