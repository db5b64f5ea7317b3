#pragma once
// A PgBouncer of the test's own before a cluster: transaction mode, few server connections, on a
// socket in a folder of its own. Killed with the test.

#include <sys/types.h>

#include <string>

#include "pg/cluster.h"

namespace sequential::storage::test {

class PgBouncer {
 public:
  explicit PgBouncer(const sequential::test::PgCluster& cluster);
  ~PgBouncer();
  PgBouncer(const PgBouncer&) = delete;
  PgBouncer& operator=(const PgBouncer&) = delete;
  std::string url() const { return "host='" + folder_ + "' port=6432 user=test dbname=postgres"; }

 private:
  std::string folder_;
  pid_t pid_ = 0;
};

}  // namespace sequential::storage::test
