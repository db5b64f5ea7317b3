#pragma once
// A program started by a test, that ends with it. For tests.

#include <sys/types.h>

#include <string>
#include <vector>

namespace sequential::test {

class Child {
 public:
  // Starts argv[0] (found in PATH) with pipes for its standard input and output.
  explicit Child(const std::vector<std::string>& argv);
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child();  // closes its input, sends SIGTERM, waits; after five seconds SIGKILL

  // The next line of its output without the line break; empty if none comes within 20 seconds.
  std::string read_line();

 private:
  pid_t pid_ = -1;
  int in_ = -1, out_ = -1;
  std::string pending_;
};

}  // namespace sequential::test
