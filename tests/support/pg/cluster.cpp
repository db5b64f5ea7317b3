#include "pg/cluster.h"

#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <pqxx/pqxx>
#include <system_error>

#include "sequential/base/check.h"

namespace sequential::test {
namespace {

namespace fs = std::filesystem;
constexpr std::chrono::seconds kPatience{60};
constexpr int kLookEveryMs = 10;
constexpr const char* kPrefix = "sequential-pgtest-";

// Runs a program as the cluster's user, its output in `log`. Answers its process id.
pid_t spawn(const std::vector<std::string>& words, const std::string& log, uid_t uid, gid_t gid) {
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  SEQUENTIAL_CHECK(pid >= 0);
  if (pid > 0) return pid;
  const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  ::dup2(out, 1);
  ::dup2(out, 2);
  if (::geteuid() == 0 && (::setgid(gid) != 0 || ::setuid(uid) != 0)) ::_exit(126);
  ::prctl(PR_SET_PDEATHSIG, SIGQUIT);  // after setuid, which clears it
  if (::getppid() != parent) ::_exit(126);
  ::setsid();  // a Ctrl-C on the terminal is for the test, which then stops us in order
  ::execv(argv[0], argv.data());
  ::_exit(127);
}

std::string text_of(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

// What processes that were killed left behind.
void delete_leftovers() {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(fs::temp_directory_path(), ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.rfind(kPrefix, 0) != 0) continue;
    const int pid = std::atoi(name.c_str() + std::strlen(kPrefix));
    if (pid > 0 && ::kill(pid, 0) != 0 && errno == ESRCH) fs::remove_all(entry.path(), ignored);
  }
}

}  // namespace

std::string pg_bin_folder() {
  if (const char* const given = std::getenv("SEQUENTIAL_PG_BIN")) return given;
  std::string best;
  int best_version = 0;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("/usr/lib/postgresql", ignored)) {
    const int version = std::atoi(entry.path().filename().c_str());
    const fs::path bin = entry.path() / "bin";
    if (version > best_version && fs::exists(bin / "initdb", ignored)) {
      best_version = version;
      best = bin.string();
    }
  }
  if (best.empty()) {
    std::cerr << "no PostgreSQL server programs found: run scripts/setup.sh --test, or set "
                 "SEQUENTIAL_PG_BIN\n";
    std::exit(1);
  }
  return best;
}

std::unique_ptr<PgCluster> PgCluster::start(const std::vector<std::string>& settings) {
  delete_leftovers();
  std::unique_ptr<PgCluster> cluster(new PgCluster);
  cluster->bin_ = pg_bin_folder();
  cluster->uid_ = ::geteuid();
  cluster->gid_ = ::getegid();
  if (cluster->uid_ == 0) {
    const passwd* user = ::getpwnam("postgres");
    if (user == nullptr) user = ::getpwnam("nobody");
    SEQUENTIAL_CHECK(user != nullptr);
    cluster->uid_ = user->pw_uid;
    cluster->gid_ = user->pw_gid;
  }
  std::string folder = (fs::temp_directory_path() /
                        (kPrefix + std::to_string(::getpid()) + "-XXXXXX")).string();
  SEQUENTIAL_CHECK(::mkdtemp(folder.data()) != nullptr);
  SEQUENTIAL_CHECK(::chown(folder.c_str(), cluster->uid_, cluster->gid_) == 0);
  SEQUENTIAL_CHECK(::chmod(folder.c_str(), 0755) == 0);
  cluster->folder_ = folder;
  const std::string log = folder + "/log";
  { std::ofstream create(log); }
  SEQUENTIAL_CHECK(::chown(log.c_str(), cluster->uid_, cluster->gid_) == 0);

  const pid_t init = spawn({cluster->bin_ + "/initdb", "-D", folder + "/data", "-A", "trust", "-U",
                            "test", "-E", "UTF8", "--locale=C", "--no-sync"},
                           log, cluster->uid_, cluster->gid_);
  int status = 0;
  if (::waitpid(init, &status, 0) != init || status != 0) {
    std::cerr << "initdb failed:\n" << text_of(log);
    std::exit(1);
  }
  std::ofstream conf(folder + "/data/postgresql.conf", std::ios::app);
  conf << "\nlisten_addresses = ''\nunix_socket_directories = '" << folder << "'\n"
       << "max_connections = 300\nshared_buffers = 64MB\nmax_wal_size = 1GB\n"
       << "log_min_messages = warning\n";
  for (const std::string& line : settings) conf << line << "\n";
  conf.close();
  cluster->run();
  return cluster;
}

PgCluster& PgCluster::shared() {
  static const std::unique_ptr<PgCluster> cluster = start();
  return *cluster;
}

PgCluster::~PgCluster() {
  if (pid_ > 0) end(SIGQUIT);  // nothing in it is worth a checkpoint
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

std::string PgCluster::url(const std::string& database) const {
  return "host='" + folder_ + "' port=5432 user=test dbname=" + database;
}

bool PgCluster::answers() const {
  try {
    pqxx::connection connection(url());
    return connection.is_open();
  } catch (const std::exception&) {
    return false;
  }
}

void PgCluster::run() {
  SEQUENTIAL_CHECK(pid_ == 0);
  const std::string log = folder_ + "/log";
  pid_ = spawn({bin_ + "/postgres", "-D", folder_ + "/data"}, log, uid_, gid_);
  const auto give_up = std::chrono::steady_clock::now() + kPatience;
  const int server = static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0));
  pollfd ended{server, POLLIN, 0};
  while (!answers()) {
    const bool died = ::poll(&ended, 1, kLookEveryMs) > 0;
    if (died || std::chrono::steady_clock::now() > give_up) {
      std::cerr << "the PostgreSQL server did not start:\n" << text_of(log);
      std::exit(1);
    }
  }
  ::close(server);
}

void PgCluster::end(int signal) {
  ::kill(pid_, signal);
  ::waitpid(pid_, nullptr, 0);
  pid_ = 0;
}

void PgCluster::crash() { end(SIGQUIT); }
void PgCluster::stop() { end(SIGINT); }

void PgCluster::become_user() const {
  if (::geteuid() == 0 && (::setgid(gid_) != 0 || ::setuid(uid_) != 0)) ::_exit(126);
}

}  // namespace sequential::test
