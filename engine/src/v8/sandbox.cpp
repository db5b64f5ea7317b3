#include "sandbox.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>

#include "sequential/engine/protocol.h"

namespace sequential::engine::v8host {
namespace {

constexpr rlim_t kFilesMax = 8;

Error failed(const char* what, int error) {
  return make_error(Errc::internal, std::string("sandbox: ") + what + ": " + std::strerror(error));
}

struct Namespace {
  int flag;
  const char* name;
};
constexpr Namespace kNamespaces[] = {
    {CLONE_NEWNET, "net"}, {CLONE_NEWIPC, "ipc"}, {CLONE_NEWUTS, "uts"}, {CLONE_NEWNS, "mount"}};

// All at once where a user namespace can be had, else those that root can enter one by one.
std::string enter_namespaces() {
  int all = CLONE_NEWUSER;
  for (const Namespace& one : kNamespaces) all |= one.flag;
  if (::unshare(all) == 0) return "user net ipc uts mount";
  std::string entered;
  for (const Namespace& one : kNamespaces) {
    if (::unshare(one.flag) != 0) continue;
    entered += (entered.empty() ? "" : " ") + std::string(one.name);
  }
  return entered;
}

Result<void> limit(int resource, rlim_t value, const char* name) {
  const rlimit both{value, value};
  if (::setrlimit(static_cast<__rlimit_resource>(resource), &both) == 0) return success();
  // A lower hard limit set outside is as good.
  rlimit now{};
  if (::getrlimit(static_cast<__rlimit_resource>(resource), &now) == 0 && now.rlim_max <= value) {
    return success();
  }
  return failed(name, errno);
}

// Task code could only misuse them; in a namespace of our own they were ours.
Result<void> drop_capabilities() {
  __user_cap_header_struct header{};
  header.version = _LINUX_CAPABILITY_VERSION_3;
  __user_cap_data_struct none[2] = {};
  if (::syscall(SYS_capset, &header, none) != 0) return failed("capset", errno);
  return success();
}

// What V8 and libc need once all is set up. Everything else kills the process (SIGSYS).
constexpr int kAllowed[] = {
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(futex),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(brk),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_getres),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    SCMP_SYS(nanosleep),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(getrandom),
    SCMP_SYS(getrusage),
    SCMP_SYS(sysinfo),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(close),
    SCMP_SYS(fstat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(lseek),
    SCMP_SYS(membarrier),
    SCMP_SYS(rseq),
    SCMP_SYS(set_robust_list),
};
// libc tries these and copes: it is told no instead of being killed.
constexpr int kRefused[] = {
    SCMP_SYS(open),       SCMP_SYS(openat), SCMP_SYS(readlink),
    SCMP_SYS(readlinkat), SCMP_SYS(access), SCMP_SYS(faccessat),
    SCMP_SYS(prctl),      SCMP_SYS(ioctl),  SCMP_SYS(uname),
};

struct FilterDeleter {
  void operator()(void* filter) const { seccomp_release(filter); }
};

int add_memory_rules(scmp_filter_ctx filter, Jit jit) {
  for (const int call : {SCMP_SYS(mmap), SCMP_SYS(mprotect), SCMP_SYS(pkey_mprotect)}) {
    const int error = jit == Jit::on
                          ? seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0)
                          // Without a compiler nothing needs to become executable any more.
                          : seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 1,
                                             SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    if (error != 0) return error;
  }
  return 0;
}

Result<void> install_filter(Jit jit) {
  const std::unique_ptr<void, FilterDeleter> filter(seccomp_init(SCMP_ACT_KILL_PROCESS));
  if (!filter) return failed("seccomp_init", ENOMEM);
  // Every thread of V8's too.
  int error = seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_TSYNC, 1);
  for (const int call : kAllowed) {
    if (error == 0) error = seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, call, 0);
  }
  for (const int call : kRefused) {
    if (error == 0) error = seccomp_rule_add(filter.get(), SCMP_ACT_ERRNO(EPERM), call, 0);
  }
  // abort() signals the calling thread; nobody else can be signalled.
  if (error == 0) {
    error = seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
                             SCMP_A0(SCMP_CMP_EQ, static_cast<scmp_datum_t>(::getpid())));
  }
  if (error == 0) error = add_memory_rules(filter.get(), jit);
  if (error == 0) error = seccomp_load(filter.get());
  if (error != 0) return failed("seccomp", -error);
  return success();
}

}  // namespace

Result<SandboxReport> enter_sandbox_early() {
  SandboxReport report;
  report.namespaces = enter_namespaces();
  // After the namespaces: a change of credentials can reset these.
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) return failed("PDEATHSIG", errno);
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return failed("NO_NEW_PRIVS", errno);
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return failed("DUMPABLE", errno);
  if (::close_range(protocol::kSocketFd + 1, ~0U, 0) != 0) return failed("close_range", errno);
  for (int fd = 0; fd < protocol::kSocketFd; ++fd) {
    if (::fcntl(fd, F_GETFD) >= 0) continue;
    const int null = ::open("/dev/null", O_RDWR);
    if (null < 0) return failed("/dev/null", errno);
    if (null != fd) {
      ::dup2(null, fd);
      ::close(null);
    }
  }
  return report;
}

Result<void> enter_sandbox_late(std::int64_t data_bytes_max, Jit jit) {
  SEQUENTIAL_TRY(limit(RLIMIT_CORE, 0, "RLIMIT_CORE"));
  SEQUENTIAL_TRY(limit(RLIMIT_FSIZE, 0, "RLIMIT_FSIZE"));
  SEQUENTIAL_TRY(limit(RLIMIT_NOFILE, kFilesMax, "RLIMIT_NOFILE"));
  SEQUENTIAL_TRY(limit(RLIMIT_NPROC, 0, "RLIMIT_NPROC"));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  // Sanitizers map terabytes of shadow memory.
  SEQUENTIAL_TRY(limit(RLIMIT_DATA, static_cast<rlim_t>(data_bytes_max), "RLIMIT_DATA"));
#else
  static_cast<void>(data_bytes_max);
#endif
  SEQUENTIAL_TRY(drop_capabilities());
  return install_filter(jit);
}

}  // namespace sequential::engine::v8host
