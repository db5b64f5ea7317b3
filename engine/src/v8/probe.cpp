#include "probe.h"

#ifdef SEQUENTIAL_FAULT_POINTS
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <thread>
#endif

namespace sequential::engine::v8host {

#ifdef SEQUENTIAL_FAULT_POINTS

bool probes_compiled() { return true; }

int run_probe(std::string_view name) {
  const auto worked = [](long result) { return result >= 0 ? 0 : 1; };
  if (name == "open") return worked(::open("/etc/passwd", O_RDONLY));
  if (name == "create") return worked(::open("/tmp/sequential-probe", O_CREAT | O_WRONLY, 0600));
  if (name == "unlink") return worked(::unlink("/tmp/sequential-probe"));
  if (name == "socket") return worked(::socket(AF_INET, SOCK_STREAM, 0));
  if (name == "unix_socket") return worked(::socket(AF_UNIX, SOCK_STREAM, 0));
  if (name == "connect") return worked(::connect(0, nullptr, 0));
  if (name == "fork") return worked(::fork());
  if (name == "thread") return worked(::syscall(SYS_clone, 0x10900, nullptr, 0, 0, 0));
  if (name == "exec") {
    char argument[] = "/bin/true";
    char* const argv[] = {argument, nullptr};
    char* const none[] = {nullptr};
    return worked(::execve("/bin/true", argv, none));
  }
  if (name == "ptrace") return worked(::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr));
  if (name == "kill_parent") return worked(::kill(::getppid(), 0));
  if (name == "unshare") return worked(::syscall(SYS_unshare, 0));
  if (name == "memfd") return worked(::syscall(SYS_memfd_create, "x", 0));
  if (name == "process_vm_readv") return worked(::syscall(SYS_process_vm_readv, 1, 0, 0, 0, 0, 0));
  if (name == "write_exec_memory") {
    void* const page = ::mmap(nullptr, 4'096, PROT_READ | PROT_WRITE | PROT_EXEC,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return page == MAP_FAILED ? 1 : 0;
  }
  return 2;
}

#else

bool probes_compiled() { return false; }
int run_probe(std::string_view) { return 2; }

#endif

}  // namespace sequential::engine::v8host
