#include "chain/signature.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>

#include "sequential/base/bytes.h"
#include "sequential/base/log.h"

namespace sequential::server {
namespace {

constexpr std::size_t kSecretBytes = 32;

Error key_error(const std::string& path, const std::string& what) {
  return Error{Errc::config_invalid, "the chain key file " + path + " " + what};
}

Result<void> create_key(const std::string& path) {
  std::error_code ignored;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), ignored);
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400);
  if (fd < 0) {
    if (errno == EEXIST) return success();
    return key_error(path, std::string("cannot be created: ") + std::strerror(errno));
  }
  const std::string hex = to_hex(random_bytes(kSecretBytes));
  const auto written = ::write(fd, hex.data(), hex.size());
  const bool ok = written == static_cast<ssize_t>(hex.size()) && ::fsync(fd) == 0;
  ::close(fd);
  if (!ok) return key_error(path, "cannot be written");
  return success();
}

std::string from_hex(std::string_view hex) {
  std::string out;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    unsigned value = 0;
    const auto [end, error] = std::from_chars(hex.data() + i, hex.data() + i + 2, value, 16);
    if (error != std::errc{} || end != hex.data() + i + 2) return {};
    out.push_back(static_cast<char>(value));
  }
  return out;
}

}  // namespace

Result<ChainKey> load_chain_key(const std::string& path) {
  SEQUENTIAL_TRY(create_key(path));
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return key_error(path, std::string("cannot be read: ") + std::strerror(errno));
  struct stat info {};
  std::array<char, kSecretBytes * 2> text{};
  const bool stat_ok = ::fstat(fd, &info) == 0;
  const auto got = ::read(fd, text.data(), text.size());
  ::close(fd);
  if (!stat_ok || (info.st_mode & 077) != 0) {
    return key_error(path, "may be read by others; make it mode 0400");
  }
  ChainKey key;
  key.secret = from_hex({text.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0))});
  if (key.secret.size() != kSecretBytes) {
    return key_error(path, "does not hold a key; delete it to have a new one made");
  }
  key.id = to_hex(sha256(key.secret).substr(0, 4));
  return key;
}

ChainSigner::ChainSigner(ChainKey key, const Clock& clock)
    : key_(std::move(key)), clock_(clock), nonce_prefix_(to_hex(random_bytes(6))) {}

std::string ChainSigner::mac(std::string_view ts, std::string_view nonce,
                             std::string_view body) const {
  std::string text = "v1\nPOST\n/stack/process\n";
  text.append(ts).append("\n").append(nonce).append("\n").append(to_hex(sha256(body)));
  return to_hex(hmac_sha256(key_.secret, text));
}

std::string ChainSigner::sign(std::string_view body) {
  const std::string ts = std::to_string(clock_.now().ms);
  const std::string nonce = nonce_prefix_ + std::to_string(counter_.fetch_add(1));
  return "v1," + key_.id + "," + ts + "," + nonce + "," + mac(ts, nonce, body);
}

bool ChainSigner::remember(std::string_view nonce) {
  const auto hash = fast_hash(nonce).low;
  const std::lock_guard lock(mutex_);
  if (recent_.contains(hash) || older_.contains(hash)) return false;
  if (recent_.size() >= kChainNoncesKept) {
    older_ = std::move(recent_);
    recent_.clear();
  }
  recent_.insert(hash);
  return true;
}

Result<void> ChainSigner::verify(std::string_view header, std::string_view body) {
  if (check(header, body)) return success();
  {
    const std::lock_guard lock(mutex_);
    ++stats_.refused;
  }
  return Error{Errc::unauthorized, "the chain signature is missing, wrong or too old"};
}

bool ChainSigner::check(std::string_view header, std::string_view body) {
  std::array<std::string_view, 5> part;
  for (std::size_t i = 0; i < part.size(); ++i) {
    const auto comma = i + 1 < part.size() ? header.find(',') : header.size();
    if (comma == std::string_view::npos) return false;
    part[i] = header.substr(0, comma);
    header.remove_prefix(std::min(comma + 1, header.size()));
  }
  if (part[0] != "v1" || part[1] != key_.id || part[3].size() > 64) return false;
  std::int64_t ts = 0;
  const auto [end, error] = std::from_chars(part[2].data(), part[2].data() + part[2].size(), ts);
  if (error != std::errc{} || end != part[2].data() + part[2].size()) return false;
  if (!equal_constant_time(mac(part[2], part[3], body), part[4])) return false;
  const Millis ahead = WallTime{ts} - clock_.now();
  if (ahead > kChainSkewMax || ahead < -kChainSkewMax) {
    count_skew(ahead);
    return false;
  }
  return remember(part[3]);
}

void ChainSigner::count_skew(Millis ahead) {
  std::int64_t count = 0;
  {
    const std::lock_guard lock(mutex_);
    count = ++stats_.skewed;
    stats_.last_skew_ms = ahead.count();
    const MonoTime now = clock_.monotonic();
    if (warned_ && now - *warned_ < kChainSkewWarnEvery) return;
    warned_ = now;
  }
  log_warn(
      "chain requests are refused because the clock of the node that signed them differs from "
      "ours by more than a minute: set both by NTP. Until then the sweep does their work. (An old "
      "request sent again looks the same.)",
      {{"ahead_of_us_ms", ahead.count()}, {"refused_so_far", count}});
}

ChainSigner::Stats ChainSigner::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

}  // namespace sequential::server
