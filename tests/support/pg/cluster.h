#pragma once
// A PostgreSQL server for one test process: a new cluster in a temporary folder, reached by a
// socket in that folder only. It is stopped and deleted when the process ends, and the kernel stops
// it if the process is killed; what a killed process left on disk, the next one deletes.
//
// PostgreSQL refuses to run as root: then it runs as the user `postgres`.
//
// Threads: start it from the main thread (the kernel watches the thread that started it).

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

namespace sequential::test {

class PgCluster {
 public:
  // `settings`: lines of postgresql.conf that come after ours.
  static std::unique_ptr<PgCluster> start(const std::vector<std::string>& settings = {});
  // The one that most tests of a process share.
  static PgCluster& shared();
  ~PgCluster();
  PgCluster(const PgCluster&) = delete;
  PgCluster& operator=(const PgCluster&) = delete;

  std::string url(const std::string& database = "postgres") const;
  const std::string& folder() const { return folder_; }  // data/, log, .s.PGSQL.5432
  std::string socket_path() const { return folder_ + "/.s.PGSQL.5432"; }
  int user() const { return static_cast<int>(uid_); }

  // As `pg_ctl stop -m immediate`: what a crash of the server looks like.
  void crash();
  void stop();  // -m fast
  void run();   // again, after either

  // The process's user becomes the server's; for programs beside it (pgbouncer). After fork.
  void become_user() const;

 private:
  PgCluster() = default;
  void end(int signal);
  bool answers() const;

  std::string folder_, bin_;
  uid_t uid_ = 0;
  gid_t gid_ = 0;
  pid_t pid_ = 0;
};

// Where PostgreSQL's server programs are: SEQUENTIAL_PG_BIN, or the newest of Debian's.
std::string pg_bin_folder();

}  // namespace sequential::test
