#pragma once
// Signatures of chain requests, so that only nodes of this installation can ask for processing.
//
//   X-Chain: v1,<key id>,<unix ms>,<nonce>,<mac>
//   mac = hex(HMAC-SHA-256(key, "v1\nPOST\n/stack/process\n" ts "\n" nonce "\n"
//   hex(SHA-256(body))))
//
// A signature is good for ±60 s. A nonce seen before is refused as far as memory of a bounded
// number of nonces reaches; a repeated hint is harmless anyway (the claim decides). A good one of
// another time means that clocks differ (or an old capture): it is refused, counted and logged.
//
// Threads: any; verify locks.

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>

#include "sequential/base/clock.h"
#include "sequential/base/error.h"

namespace sequential::server {

inline constexpr Millis kChainSkewMax{60'000};
inline constexpr Millis kChainSkewWarnEvery{60'000};
inline constexpr std::size_t kChainNoncesKept = 131'072;  // per generation, two generations

struct ChainKey {
  std::string id;      // hex of the key's first hash bytes
  std::string secret;  // 32 bytes
};

// Reads the key file, creating it (mode 0400) if missing. Errors: config_invalid.
Result<ChainKey> load_chain_key(const std::string& path);

class ChainSigner {
 public:
  ChainSigner(ChainKey key, const Clock& clock);

  // The value of X-Chain for this body.
  std::string sign(std::string_view body);

  // Errors: unauthorized (always the same message).
  Result<void> verify(std::string_view header, std::string_view body);

  struct Stats {
    std::int64_t refused = 0;       // of any cause
    std::int64_t skewed = 0;        // of those: signed by our key, at a time too far from ours
    std::int64_t last_skew_ms = 0;  // of the newest of those: how far the signer is ahead of us
  };
  Stats stats() const;

 private:
  bool check(std::string_view header, std::string_view body);
  void count_skew(Millis ahead);
  std::string mac(std::string_view ts, std::string_view nonce, std::string_view body) const;
  bool remember(std::string_view nonce);

  const ChainKey key_;
  const Clock& clock_;
  const std::string nonce_prefix_;  // random per boot
  std::atomic<std::uint64_t> counter_{0};
  mutable std::mutex mutex_;
  std::unordered_set<std::uint64_t> recent_, older_;  // hashes of nonces; guarded by mutex_
  Stats stats_;                                       // guarded by mutex_
  std::optional<MonoTime> warned_;                    // of a skew; guarded by mutex_
};

}  // namespace sequential::server
