#pragma once
// The file that holds the key which seals all secrets:
//   {"format":"sequential-runner-keystore-1","kid":"…","key":"<64 hex digits>"}
// Mode 0400, owned by whoever runs the server. The key lives in guarded, locked memory.
//
// Threads:  the functions are for start-up; a SealKey is constant after it was loaded.
// Blocking: file input and output.

#include <memory>
#include <string>

#include "keystore/envelope.h"
#include "sequential/base/error.h"

namespace sequential::services {

struct SodiumFree {
  void operator()(unsigned char* memory) const noexcept;
};
// Guard pages around, locked into memory, wiped when freed.
using SodiumMemory = std::unique_ptr<unsigned char[], SodiumFree>;

struct SealKey {
  std::string kid;
  SodiumMemory key;  // kSealKeyBytes, read-only
};

// Errors: not_found if there is no such file; config_invalid with the path and what to do.
Result<SealKey> load_key_file(const std::string& path);

// Creates the file with a new random key; if it exists by now, changes nothing. The file is there
// whole and flushed, or not at all. Errors: config_invalid.
Result<void> create_key_file(const std::string& path);

}  // namespace sequential::services
