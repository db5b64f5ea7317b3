#pragma once
// Session: what every command works with: the server, the streams, and how to say what went wrong.
//
// Threads: one.

#include <cstdint>
#include <string>
#include <string_view>

#include "client.h"
#include "format.h"
#include "sequential/base/error.h"
#include "sequential/cli/main.h"

namespace sequential::cli {

// A problem document (RFC 9457) as far as we use it.
struct Problem {
  int status = 0;
  std::string code, detail, field;
  std::int64_t line = 0, column = 0;
  std::string source;  // the author's file that they are of, by the code's source map
};
Problem problem_of(const Response& response);

class Session {
 public:
  Session(const Main& main, Client client, bool json);

  // The server's answer, or, having said why there is none, an exit code.
  struct Answer {
    int exit = kExitOk;
    Response response;
    explicit operator bool() const { return exit == kExitOk; }
  };
  Answer ask(const Request& request);

  // Each says it on the error stream and returns the exit code.
  int report(const Error& error) const;
  int report(const Problem& problem) const;
  int usage(const std::string& message) const;

  void print(std::string_view text) const;  // to the output, as it is
  void note(std::string_view text) const;   // to the error stream, with a newline
  void print_json(std::string_view body) const;

  Client& client() { return client_; }
  const Main& main() const { return main_; }
  bool json() const { return json_; }
  const Terminal& out() const { return out_; }
  const Terminal& err() const { return err_; }

 private:
  const Main& main_;
  Client client_;
  const bool json_;
  const Terminal out_, err_;
};

}  // namespace sequential::cli
