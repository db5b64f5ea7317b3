// Sealed values: what is in them is not the store's business.

#include "sqlite/transaction.h"

namespace sequential::storage::sqlite {

Result<std::int64_t> keystore_put(Transaction& tx, const std::string& name_space,
                                  const std::string& key, const std::string& key_id,
                                  const std::function<std::string(std::int64_t)>& seal) {
  std::int64_t version = 1;
  {
    Cursor row = tx.sql.keystore_version.query(name_space, key);
    if (row.next()) version = row.integer(0) + 1;
  }
  const std::string sealed = seal(version);
  tx.sql.keystore_put.run(name_space, key, version, key_id, tx.clock.now(), Blob{sealed});
  return version;
}

Result<bool> keystore_delete(Transaction& tx, const std::string& name_space,
                             const std::string& key) {
  return tx.sql.keystore_delete.run(name_space, key) == 1;
}

}  // namespace sequential::storage::sqlite
