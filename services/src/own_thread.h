#pragma once
// What every thread of this module does first. Threads: call it on the thread itself.

#include <pthread.h>
#include <signal.h>

namespace sequential::services {

// Names the thread (at most 15 characters) and leaves signals to the main thread. A connection that
// breaks is an error code here, not SIGPIPE; faults of the program itself stay what they are.
inline void begin_own_thread(const char* name) {
  sigset_t blocked;
  sigfillset(&blocked);
  for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS}) {
    sigdelset(&blocked, fault);
  }
  pthread_sigmask(SIG_BLOCK, &blocked, nullptr);
  pthread_setname_np(pthread_self(), name);
}

}  // namespace sequential::services
