#pragma once
// Opening with a list of migrations of one's own: what open_sqlite does with the embedded ones.

#include <memory>
#include <span>

#include "sequential/storage/sqlite.h"
#include "sqlite/migrate.h"

namespace sequential::storage::sqlite {

Result<std::unique_ptr<Store>> open_store(const SqliteOptions& given,
                                          std::span<const Migration> migrations,
                                          const Clock& clock);

}  // namespace sequential::storage::sqlite
