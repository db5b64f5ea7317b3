#pragma once
// Schedules on SQLite: all of it goes through the writer, which has little to do with it.

#include <functional>
#include <memory>

#include "sequential/storage/schedules.h"
#include "sqlite/transaction.h"

namespace sequential::storage::sqlite {

// Has the writer do that, and calls `done` once it is committed.
using PostChange =
    std::function<void(std::function<Result<void>(Transaction&)> apply, Done<void> done)>;

std::unique_ptr<Schedules> make_schedules(PostChange post);

}  // namespace sequential::storage::sqlite
