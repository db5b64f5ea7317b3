#include "interrupt.h"

#include <poll.h>

#include <csignal>

#include "sequential/base/clock.h"

namespace sequential::cli {
namespace {

volatile std::sig_atomic_t interrupted = 0;  // a signal handler can write nothing else

}  // namespace

Interrupt::Interrupt() {
  interrupted = 0;
  struct sigaction action {};
  action.sa_handler = [](int) { interrupted = 1; };
  ::sigemptyset(&action.sa_mask);
  ::sigaction(SIGINT, &action, &before_);
}

Interrupt::~Interrupt() {
  ::sigaction(SIGINT, &before_, nullptr);
  interrupted = 0;
}

bool Interrupt::requested() { return interrupted != 0; }

void Interrupt::pause(Millis length) {
  // No descriptors: a wait that a signal ends.
  if (!requested()) ::poll(nullptr, 0, static_cast<int>(length.count()));
}

}  // namespace sequential::cli
