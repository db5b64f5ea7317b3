#pragma once
// What keeps PostgreSQL from cleaning up behind the work: the oldest snapshot that somebody holds.

#include "postgres/pool.h"
#include "postgres/transitions.h"
#include "sequential/storage/store.h"

namespace sequential::storage::postgres {

Answered<Upkeep> upkeep(const Try& attempt);

}  // namespace sequential::storage::postgres
