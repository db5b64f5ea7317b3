#pragma once
// BaseBlob: the heap snapshot that every isolate starts from: V8's own state with the bootstrap
// evaluated and warmed up in the default context.
//
// File format (little-endian, written and read by the same build on the same machine):
//   magic:8 "SEQBASE1"  header_bytes:u32  references:u32
//   v8_version:64 (zero-padded)  identity:16  blob_bytes:u64  blob_hash:16  blob
// `identity` is the XXH3-128 of flags, reference names and bootstrap source. A file that differs in
// anything is not used; the blob is then built anew.

#include <v8.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "platform.h"
#include "sequential/base/error.h"

namespace sequential::engine::v8host {

class BaseBlob {
 public:
  // Maps and verifies the file; nullopt if it is missing or not exactly what this build makes.
  static std::optional<BaseBlob> load(const std::string& path);

  // Makes it in this process, which needs a Platform and may not have had another isolate before.
  // Errors: internal, if the bootstrap throws.
  static Result<BaseBlob> build();

  // Builds in a child process; call before V8 starts in this one.
  static Result<BaseBlob> build_in_child();

  Result<void> write(const std::string& path) const;

  BaseBlob(BaseBlob&& other) noexcept;
  BaseBlob& operator=(BaseBlob&& other) noexcept = delete;
  ~BaseBlob();

  // Valid as long as this object; V8 keeps the pointer.
  v8::StartupData* startup_data() { return &data_; }
  std::size_t size() const { return static_cast<std::size_t>(data_.raw_size); }
  bool from_file() const { return from_file_; }

 private:
  BaseBlob() = default;
  static std::optional<BaseBlob> map(int fd, bool from_file);

  std::string owned_;        // bytes built here
  void* mapping_ = nullptr;  // or mapped ones
  std::size_t mapping_bytes_ = 0;
  v8::StartupData data_{nullptr, 0};
  bool from_file_ = false;
};

}  // namespace sequential::engine::v8host
