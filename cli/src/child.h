#pragma once
// A program run to its end: without a shell, with a deadline, and with a bound to what is kept of
// its output.
//
// Threads:  one, and no Interrupt beside it. Ctrl-C ends the program and then this process.
// Blocking: until the program has ended, at most `time_max` and a moment.

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "sequential/base/clock.h"
#include "sequential/base/error.h"

namespace sequential::cli {

struct ChildRequest {
  std::filesystem::path program;
  std::vector<std::string> arguments;
  std::filesystem::path folder;  // to run it in
  Millis time_max{0};
  std::size_t output_bytes_max = 0;  // so many end it
  std::size_t errors_bytes_max = 0;  // more is left out
};

struct ChildEnd {
  enum class How { exited, signalled, timed_out, output_too_large } how = How::exited;
  int number = 0;  // exit status, or signal
  std::string output, errors;
};

// One that does not end by itself is ended, with whatever it has started. Errors: config_invalid,
// if it cannot be started.
Result<ChildEnd> run_child(const ChildRequest& request);

}  // namespace sequential::cli
