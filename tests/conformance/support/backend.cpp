#include "support/backend.h"

namespace sequential::storage::test {

std::vector<Backend> backends() { return {sqlite_backend(), postgres_backend()}; }

}  // namespace sequential::storage::test
