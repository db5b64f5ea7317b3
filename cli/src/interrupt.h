#pragma once
// Ctrl-C while waiting: ends the wait, not the run.
//
// Threads: one Interrupt at a time, on the main thread.

#include <csignal>

#include "sequential/base/clock.h"

namespace sequential::cli {

class Interrupt {
 public:
  Interrupt();  // takes over SIGINT
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;
  ~Interrupt();  // gives it back

  static bool requested();
  // Returns after `length`, or at once when Ctrl-C comes.
  static void pause(Millis length);

 private:
  struct sigaction before_ {};
};

}  // namespace sequential::cli
