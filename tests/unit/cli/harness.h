#pragma once
// Runs the command line inside the test and keeps what it printed.

#include <cstdio>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "sequential/cli/main.h"

namespace sequential::cli {

struct Ran {
  int exit = -1;
  std::string out, err;
};

// `arguments` without the program's name. Another output than stdout is used as it is. The
// environment's SEQUENTIAL_… are cleared first.
Ran run_with(const std::vector<std::string>& arguments, const std::string& input = "",
             Main main = {});

// The same with a terminal (80 columns) as input and error stream; `typed` is what the user types.
Ran run_on_terminal(const std::vector<std::string>& arguments, const std::string& typed = "");

class TempFolder {
 public:
  TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  ~TempFolder();
  // Writes a file and returns its path.
  std::string file(const std::string& name, const std::string& contents) const;

 private:
  std::filesystem::path path_;
};

}  // namespace sequential::cli
