#include "input.h"

#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "sequential/base/error.h"

namespace sequential::cli {
namespace {

Error cannot_read(const std::string& name, const std::string& why) {
  return {Errc::config_invalid, "Cannot read " + name + ": " + why};
}

// Echo off while it lives.
class Silence {
 public:
  explicit Silence(int fd) : fd_(fd) {
    if (::tcgetattr(fd_, &before_) != 0) return;
    termios quiet = before_;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    changed_ = ::tcsetattr(fd_, TCSAFLUSH, &quiet) == 0;
  }
  Silence(const Silence&) = delete;
  Silence& operator=(const Silence&) = delete;
  ~Silence() {
    if (changed_) ::tcsetattr(fd_, TCSAFLUSH, &before_);
  }

 private:
  const int fd_;
  termios before_{};
  bool changed_ = false;
};

}  // namespace

Result<std::string> read_all(std::FILE* stream, const std::string& name, std::size_t bytes_max) {
  std::string text;
  char buffer[65'536];
  for (;;) {
    const std::size_t got = std::fread(buffer, 1, sizeof buffer, stream);
    text.append(buffer, got);
    if (text.size() > bytes_max) {
      return cannot_read(name, "it is larger than " + std::to_string(bytes_max) + " bytes");
    }
    if (got < sizeof buffer) break;
  }
  if (std::ferror(stream) != 0) return cannot_read(name, std::strerror(errno));
  return text;
}

Result<std::string> read_file(const std::string& path, std::size_t bytes_max) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rbe"),
                                                             &std::fclose);
  if (!file) return cannot_read(path, std::strerror(errno));
  return read_all(file.get(), path, bytes_max);
}

Result<std::string> read_hidden(std::FILE* terminal, std::FILE* prompt_to,
                                const std::string& prompt) {
  std::string line;
  {
    const Silence silence(::fileno(terminal));  // first: it drops what was typed before
    std::fputs(prompt.c_str(), prompt_to);
    std::fflush(prompt_to);
    for (int c; (c = std::fgetc(terminal)) != EOF && c != '\n';) {
      if (line.size() == kSecretBytesMax) {
        return cannot_read("the terminal", "the line is too long");
      }
      line.push_back(static_cast<char>(c));
    }
  }
  std::fputs("\n", prompt_to);
  return line;
}

std::string without_final_newline(std::string text) {
  if (text.ends_with('\n')) text.pop_back();
  if (text.ends_with('\r')) text.pop_back();
  return text;
}

}  // namespace sequential::cli
