#include "keystore/key_file.h"

#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <utility>

#include "json_args.h"
#include "sequential/base/bytes.h"
#include "sequential/base/check.h"
#include "sequential/base/json_text.h"
#include "sequential/base/log.h"

namespace sequential::services {
namespace {

constexpr std::size_t kFileBytesMax = 4096;
constexpr std::string_view kFormat = "sequential-runner-keystore-1";
constexpr mode_t kFileMode = 0400;
constexpr mode_t kOthersMask = 077;

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  bool ok() const { return fd_ >= 0; }

 private:
  const int fd_;
};

Error at_fault(const std::string& path, const std::string& what) {
  return make_error(Errc::config_invalid, "the key file " + path + " " + what);
}
Error system_error(const std::string& path, const std::string& what) {
  return at_fault(path, what + ": " + std::strerror(errno));
}

// Guarded memory comes locked if the limits allow it. If they do not, the key may be written to
// swap: worth a warning, not worth refusing to start.
SodiumMemory guarded(std::size_t bytes) {
  SodiumMemory memory(static_cast<unsigned char*>(sodium_malloc(bytes)));
  SEQUENTIAL_CHECK(memory != nullptr);
  if (sodium_mlock(memory.get(), bytes) != 0) {
    log_warn("the keystore's key cannot be locked into memory and may be swapped out",
             {{"reason", std::strerror(errno)}});
  }
  return memory;
}

Result<void> check_owner(const std::string& path, int fd) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return system_error(path, "cannot be examined");
  if (!S_ISREG(info.st_mode)) return at_fault(path, "is not a regular file");
  if (info.st_uid != ::geteuid() && info.st_uid != 0) {
    return at_fault(path, "belongs to another user; chown it to the user that runs the server");
  }
  if ((info.st_mode & kOthersMask) != 0) {
    return at_fault(path, "can be read or written by others; run: chmod 0400 " + path);
  }
  if (info.st_size <= 0 || static_cast<std::size_t>(info.st_size) > kFileBytesMax) {
    return at_fault(path, "is not a keystore key file; restore it from a backup");
  }
  return success();
}

bool read_whole(int fd, unsigned char* out, std::size_t bytes_max, std::size_t& bytes) {
  bytes = 0;
  while (bytes < bytes_max) {
    const ssize_t got = ::read(fd, out + bytes, bytes_max - bytes);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return false;
    if (got == 0) break;
    bytes += static_cast<std::size_t>(got);
  }
  return true;
}

bool write_whole(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t put = ::write(fd, text.data(), text.size());
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(put));
  }
  return ::fsync(fd) == 0;
}

// Reads the members in place, so no copy of the key is left behind.
Result<SealKey> parse(const std::string& path, std::string_view text) {
  const Error damaged = at_fault(path, "is damaged; restore it from a backup");
  if (check_json(text).has_error() || !json_is_object(text)) return damaged;
  if (json_text_value(json_member(text, "format")) != kFormat) return damaged;
  SealKey key;
  key.kid = json_text_value(json_member(text, "kid")).value_or("");
  const std::string_view hex = json_member(text, "key");
  if (key.kid.empty() || key.kid.size() > kKidBytesMax || hex.size() != kSealKeyBytes * 2 + 2) {
    return damaged;
  }
  key.key = guarded(kSealKeyBytes);
  std::size_t bytes = 0;
  if (sodium_hex2bin(key.key.get(), kSealKeyBytes, hex.data() + 1, kSealKeyBytes * 2, nullptr,
                     &bytes, nullptr) != 0 ||
      bytes != kSealKeyBytes) {
    return damaged;
  }
  sodium_mprotect_readonly(key.key.get());
  return key;
}

std::string folder_of(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// The text of a new key file, in guarded memory.
std::string_view make_text(const SodiumMemory& memory, std::size_t bytes) {
  const std::string kid = to_hex(random_bytes(8));
  SodiumMemory key = guarded(kSealKeyBytes);
  randombytes_buf(key.get(), kSealKeyBytes);
  char* const out = reinterpret_cast<char*>(memory.get());
  std::size_t at = 0;
  const auto put = [&](std::string_view part) {
    SEQUENTIAL_CHECK(at + part.size() < bytes);
    std::memcpy(out + at, part.data(), part.size());
    at += part.size();
  };
  put("{\"format\":\"");
  put(kFormat);
  put("\",\"kid\":\"");
  put(kid);
  put("\",\"key\":\"");
  SEQUENTIAL_CHECK(at + kSealKeyBytes * 2 + 1 < bytes);
  sodium_bin2hex(out + at, bytes - at, key.get(), kSealKeyBytes);
  at += kSealKeyBytes * 2;
  put("\"}\n");
  return {out, at};
}

}  // namespace

void SodiumFree::operator()(unsigned char* memory) const noexcept { sodium_free(memory); }

Result<SealKey> load_key_file(const std::string& path) {
  if (sodium_init() < 0) return make_error(Errc::internal, "libsodium cannot start");
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!file.ok()) {
    if (errno == ENOENT) return make_error(Errc::not_found, "there is no key file " + path);
    if (errno == ELOOP) return at_fault(path, "is a symbolic link; name the file itself");
    return system_error(path, "cannot be read");
  }
  SEQUENTIAL_TRY(check_owner(path, file.get()));
  const SodiumMemory memory = guarded(kFileBytesMax);
  std::size_t bytes = 0;
  if (!read_whole(file.get(), memory.get(), kFileBytesMax, bytes)) {
    return system_error(path, "cannot be read");
  }
  return parse(path, {reinterpret_cast<const char*>(memory.get()), bytes});
}

Result<void> create_key_file(const std::string& path) {
  if (sodium_init() < 0) return make_error(Errc::internal, "libsodium cannot start");
  // Written under another name first: a crash midway leaves no half key file behind.
  const std::string draft = path + ".new-" + to_hex(random_bytes(6));
  {
    const Fd file(::open(draft.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, kFileMode));
    if (!file.ok()) return system_error(path, "cannot be created");
    const SodiumMemory memory = guarded(kFileBytesMax);
    if (!write_whole(file.get(), make_text(memory, kFileBytesMax))) {
      const Error error = system_error(path, "cannot be written");
      ::unlink(draft.c_str());
      return error;
    }
  }
  // Unlike rename, this leaves alone a file that another process created meanwhile.
  const bool moved = ::renameat2(AT_FDCWD, draft.c_str(), AT_FDCWD, path.c_str(),
                                 RENAME_NOREPLACE) == 0 ||
                     (errno == EINVAL && ::link(draft.c_str(), path.c_str()) == 0);
  const int move_errno = errno;
  ::unlink(draft.c_str());
  if (!moved && move_errno != EEXIST) {
    errno = move_errno;
    return system_error(path, "cannot be created");
  }
  const Fd folder(::open(folder_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.ok() || ::fsync(folder.get()) != 0) {
    return system_error(path, "was created but its folder cannot be flushed");
  }
  return success();
}

}  // namespace sequential::services
