#include "pgbouncer.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <pqxx/pqxx>

#include "sequential/base/check.h"

namespace sequential::storage::test {
namespace {

constexpr std::chrono::seconds kPatience{30};
constexpr int kLookEveryMs = 10;

std::string program() {
  for (const char* const path : {"/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"}) {
    if (std::filesystem::exists(path)) return path;
  }
  std::cerr << "pgbouncer is not installed: run scripts/setup.sh --test\n";
  std::exit(1);
}

bool answers(const std::string& url) {
  try {
    return pqxx::connection(url).is_open();
  } catch (const std::exception&) {
    return false;
  }
}

}  // namespace

PgBouncer::PgBouncer(const sequential::test::PgCluster& cluster) {
  const std::string path = program();
  static int number = 0;
  folder_ = cluster.folder() + "/bouncer" + std::to_string(++number);
  SEQUENTIAL_CHECK(std::filesystem::create_directory(folder_));
  SEQUENTIAL_CHECK(::chmod(folder_.c_str(), 0777) == 0);
  const std::string conf = folder_ + "/pgbouncer.ini";
  {
    std::ofstream out(conf);
    out << "[databases]\n* = host=" << cluster.folder() << " port=5432\n[pgbouncer]\n"
        << "listen_addr =\nlisten_port = 6432\nunix_socket_dir = " << folder_ << "\n"
        << "pool_mode = transaction\ndefault_pool_size = 3\n"
        << "max_client_conn = 200\nlogfile = " << folder_ << "/log\n"
        << "pidfile =\n";
  }
  std::ofstream(folder_ + "/users") << "\"test\" \"\"\n";
  std::ofstream(conf, std::ios::app) << "auth_file = " << folder_ << "/users\nauth_type = trust\n";
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  SEQUENTIAL_CHECK(pid_ >= 0);
  if (pid_ == 0) {
    cluster.become_user();
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(126);
    ::execl(path.c_str(), path.c_str(), "-q", conf.c_str(), nullptr);
    ::_exit(127);
  }
  const auto give_up = std::chrono::steady_clock::now() + kPatience;
  pollfd ended{static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)), POLLIN, 0};
  while (!answers(url())) {
    SEQUENTIAL_CHECK(::poll(&ended, 1, kLookEveryMs) == 0);
    SEQUENTIAL_CHECK(std::chrono::steady_clock::now() < give_up);
  }
  ::close(ended.fd);
}

PgBouncer::~PgBouncer() {
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

}  // namespace sequential::storage::test
