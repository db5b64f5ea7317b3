#pragma once
// Bundling a file with what it imports, by esbuild, into the one file that a task is.
//
// Threads:  one.
// Blocking: until esbuild has ended, at most the deadline.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "sequential/base/clock.h"
#include "sequential/base/error.h"

namespace sequential::cli {

inline constexpr std::size_t kCodeBytesMax = 64u << 20;  // the server's own limit is lower

struct BundleOptions {
  enum class When { as_needed, always, never } when = When::as_needed;
  std::string esbuild;  // the program, as the user named it; empty: looked for
  std::int64_t timeout_s = 60;
};

// Why a file has to be bundled, in words that follow its name. Empty: it does not.
std::string why_bundle(const std::filesystem::path& file, std::string_view code,
                       BundleOptions::When when);

// Where an esbuild may be; the first that is there is taken, in this order.
struct EsbuildPlaces {
  std::string named;              // by the user
  std::filesystem::path folder;   // of the file: node_modules/.bin/esbuild there and above
  std::filesystem::path program;  // ours: ../lib/sequential-runner/esbuild from its folder
  std::string path;               // the variable PATH
};
// Absolute. Empty: nowhere. Errors: config_invalid, if the one that the user named is none.
Result<std::filesystem::path> find_esbuild(const EsbuildPlaces& places);

// The folder that the names of sources are relative to: the nearest with a package.json, otherwise
// the file's own. So the same files give the same bundle wherever the command is called.
std::filesystem::path project_folder(const std::filesystem::path& file);

// For a file inside of that folder.
std::vector<std::string> esbuild_arguments(const std::filesystem::path& file);

// What esbuild says about code that it cannot bundle, for people who do not call esbuild
// themselves: without advice about its own options, and with advice about ours.
std::string explain_esbuild(std::string_view messages, const std::filesystem::path& folder);

struct Bundle {
  std::string code;  // its source map in its last line
  std::filesystem::path folder;
  std::int64_t inputs = 0, map_bytes = 0;
  std::string warnings;  // esbuild's, or empty
};
// Errors: code_invalid with esbuild's messages; config_invalid for the rest.
Result<Bundle> bundle(const std::filesystem::path& file, const std::string& why,
                      const BundleOptions& options);

}  // namespace sequential::cli
