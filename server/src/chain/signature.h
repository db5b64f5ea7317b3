#pragma once
// Signatures of chain requests, so that only nodes of this installation can ask for processing.
//
//   X-Chain: v1,<key id>,<unix ms>,<nonce>,<mac>
//   mac = hex(HMAC-SHA-256(key, "v1\nPOST\n/stack/process\n" ts "\n" nonce "\n"
//   hex(SHA-256(body))))
//
// A signature is good for ±60 s. A nonce seen before is refused as far as memory of a bounded
// number of nonces reaches; a repeated hint is harmless anyway (the claim decides).
//
// Threads: any; verify locks.

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_set>

#include "sequential/base/clock.h"
#include "sequential/base/error.h"

namespace sequential::server {

inline constexpr Millis kChainSkewMax{60'000};
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

 private:
  std::string mac(std::string_view ts, std::string_view nonce, std::string_view body) const;
  bool remember(std::string_view nonce);

  const ChainKey key_;
  const Clock& clock_;
  const std::string nonce_prefix_;  // random per boot
  std::atomic<std::uint64_t> counter_{0};
  std::mutex mutex_;
  std::unordered_set<std::uint64_t> recent_, older_;  // hashes of nonces; guarded by mutex_
};

}  // namespace sequential::server
