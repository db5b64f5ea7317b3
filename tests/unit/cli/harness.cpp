#include "harness.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace sequential::cli {
namespace {

std::string contents_of(std::FILE* file) {
  std::string text;
  std::rewind(file);
  char buffer[4'096];
  for (std::size_t got; (got = std::fread(buffer, 1, sizeof buffer, file)) > 0;) {
    text.append(buffer, got);
  }
  return text;
}

int call(const Main& main, const std::vector<std::string>& arguments) {
  for (const char* name :
       {"SEQUENTIAL_SERVER", "SEQUENTIAL_TOKEN_FILE", "SEQUENTIAL_CONFIG", "SEQUENTIAL_ESBUILD"}) {
    ::unsetenv(name);
  }
  std::vector<const char*> argv = {"sequential-runner"};
  for (const std::string& argument : arguments) argv.push_back(argument.c_str());
  return run_cli(main, static_cast<int>(argv.size()), argv.data());
}

}  // namespace

Ran run_with(const std::vector<std::string>& arguments, const std::string& input, Main main) {
  main.in = std::tmpfile();
  if (main.out == stdout) main.out = std::tmpfile();
  main.err = std::tmpfile();
  std::fwrite(input.data(), 1, input.size(), main.in);
  std::rewind(main.in);
  Ran ran;
  ran.exit = call(main, arguments);
  ran.out = contents_of(main.out);
  ran.err = contents_of(main.err);
  std::fclose(main.in);
  std::fclose(main.out);
  std::fclose(main.err);
  return ran;
}

Ran run_on_terminal(const std::vector<std::string>& arguments, const std::string& typed) {
  int outside = -1, inside = -1;
  winsize size{};
  size.ws_col = 80;
  size.ws_row = 24;
  EXPECT_EQ(::openpty(&outside, &inside, nullptr, nullptr, &size), 0);
  Ran ran;
  std::thread reader([outside, &ran, &typed] {  // ends when the last inside end is closed
    char buffer[4'096];
    bool answered = typed.empty();
    for (ssize_t got; (got = ::read(outside, buffer, sizeof buffer)) > 0;) {
      ran.err.append(buffer, static_cast<std::size_t>(got));
      if (answered) continue;
      answered = true;  // the user sees the prompt and types
      EXPECT_EQ(::write(outside, typed.data(), typed.size()), static_cast<ssize_t>(typed.size()));
    }
  });
  Main main;
  main.in = ::fdopen(inside, "r");
  main.err = ::fdopen(::fcntl(inside, F_DUPFD_CLOEXEC, 0), "w");
  main.out = std::tmpfile();
  ran.exit = call(main, arguments);
  ran.out = contents_of(main.out);
  std::fclose(main.out);
  std::fclose(main.err);
  std::fclose(main.in);
  reader.join();
  ::close(outside);
  return ran;
}

TempFolder::TempFolder() {
  char name[] = "/tmp/sequential_cli_test_XXXXXX";
  const char* made = ::mkdtemp(name);
  EXPECT_NE(made, nullptr);
  path_ = made;
}

TempFolder::~TempFolder() { std::filesystem::remove_all(path_); }

std::string TempFolder::file(const std::string& name, const std::string& contents) const {
  const std::filesystem::path path = path_ / name;
  std::ofstream(path, std::ios::binary) << contents;
  return path;
}

}  // namespace sequential::cli
