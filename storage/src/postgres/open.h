#pragma once
// Opening, with the migrations given: tests bring their own.

#include <memory>
#include <span>

#include "postgres/migrate.h"
#include "sequential/storage/postgres.h"

namespace sequential::storage::postgres {

Result<std::unique_ptr<Store>> open_store(const PostgresOptions& options,
                                          std::span<const Migration> migrations,
                                          const Clock& clock);

}  // namespace sequential::storage::postgres
