#pragma once
// The command line: every command of the program. All but `serve` talk HTTP to a server; `serve` is
// a function given by main(), so that this module knows nothing of the server's inside.
//
// Threads:  run_cli is called once, on the main thread. While it waits for a server it handles
//           SIGINT itself; before it calls `serve` it leaves signals as it found them.
// Blocking: every wait for the server has a deadline.
// Errors:   become a message on the error stream and an exit code.

#include <cstdio>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace sequential::cli {

enum ExitCode : int {
  kExitOk = 0,
  kExitRunFailed = 1,     // the run ended failed or cancelled, or is paused
  kExitUsage = 2,         // wrong arguments, unreadable file, invalid configuration
  kExitUnreachable = 3,   // no server, or it did not answer in time
  kExitNotFound = 4,      // no such task, run or key
  kExitRefused = 5,       // the server refused: not allowed, in conflict, over a limit, invalid
  kExitServer = 6,        // the server failed or is overloaded; trying again may help
  kExitStillRunning = 7,  // --wait ended (--timeout, Ctrl-C) before the run did; it goes on
  kExitOutput = 8,        // standard output took not all that was printed
};

// What `serve` was given. The environment is read by whoever loads the configuration.
struct ServeArguments {
  std::string config_file;  // empty: none
  // Setting name and value: of short flags such as --port, then of --set, which so wins.
  std::vector<std::pair<std::string, std::string>> settings;
  bool print_config = false;  // print the merged configuration and exit
  bool print_schema = false;  // print the configuration's JSON Schema and exit
};

struct Main {
  std::string version = "0.0.0";
  std::function<int(const ServeArguments&)> serve;
  // More lines for `version`: libraries and their versions, one "name version" each.
  std::vector<std::string> components;
  std::FILE* in = stdin;
  std::FILE* out = stdout;
  std::FILE* err = stderr;
};

// Parses the arguments, runs the command and returns the process's exit code.
int run_cli(const Main& main, int argc, const char* const* argv);

}  // namespace sequential::cli
