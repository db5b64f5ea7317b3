#include "bundle.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <system_error>
#include <utility>

#include "child.h"
#include "imports.h"
#include "sequential/base/base64.h"
#include "sequential/base/env.h"

namespace sequential::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMessagesBytesMax = 64u << 10;
constexpr int kMessagesMax = 20;  // of errors and of warnings, each
constexpr int kFoldersMax = 256;  // looked at, upwards

bool has_extension(const fs::path& file, std::initializer_list<std::string_view> extensions) {
  const std::string extension = file.extension().string();
  return std::find(extensions.begin(), extensions.end(), extension) != extensions.end();
}

bool is_program(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored) && ::access(path.c_str(), X_OK) == 0;
}

// `look` is asked about the folder and each above it, until it answers true.
template <class Look>
void upwards(fs::path folder, const Look& look) {
  for (int i = 0; i < kFoldersMax && !look(folder); ++i) {
    if (!folder.has_relative_path()) return;
    folder = folder.parent_path();
  }
}

fs::path find_in_path(std::string_view path) {
  while (!path.empty()) {
    const auto colon = std::min(path.find(':'), path.size());
    const fs::path folder(path.substr(0, colon));
    // A folder that depends on where one stands is not looked at.
    if (folder.is_absolute() && is_program(folder / "esbuild")) return folder / "esbuild";
    path.remove_prefix(std::min(colon + 1, path.size()));
  }
  return {};
}

struct Replacement {
  std::string_view module, instead;
};
// What a task uses in place of what Node.js has. A module that is not named here has no place in a
// task at all.
constexpr std::string_view kFromNpm =
    "Packages of npm do the same without Node.js; such a package is bundled when it is installed";
constexpr std::string_view kNetwork = "Use fetch, or a service: services.http, services.gapi";
constexpr std::string_view kFiles =
    "A task has no files: pass what it needs as its input, or import a .json or .txt file, which "
    "is bundled";
constexpr std::string_view kProcesses =
    "A task has neither processes nor threads: calls of services run at the same time with "
    "Promise.all";
constexpr std::string_view kEnvironment =
    "A task sees nothing of the machine: pass what it needs as its input";
constexpr std::string_view kNothing = "A task sees the language and the globals of docs/tasks.md";
constexpr std::array kNodeModules = {
    Replacement{"assert", kFromNpm},
    Replacement{"async_hooks", kNothing},
    Replacement{"buffer", "Use Uint8Array, TextEncoder, TextDecoder, atob and btoa"},
    Replacement{"child_process", kProcesses},
    Replacement{"cluster", kProcesses},
    Replacement{"console", "Use the global console"},
    Replacement{"constants", kNothing},
    Replacement{"crypto", "Use the global crypto, or a package of npm in plain JavaScript"},
    Replacement{"dgram", kNetwork},
    Replacement{"diagnostics_channel", kNothing},
    Replacement{"dns", kNetwork},
    Replacement{"domain", kNothing},
    Replacement{"events", kFromNpm},
    Replacement{"fs", kFiles},
    Replacement{"http", kNetwork},
    Replacement{"http2", kNetwork},
    Replacement{"https", kNetwork},
    Replacement{"inspector", kNothing},
    Replacement{"module", kNothing},
    Replacement{"net", kNetwork},
    Replacement{"os", kEnvironment},
    Replacement{"path", kFromNpm},
    Replacement{"perf_hooks", "Use the global performance"},
    Replacement{"process", kEnvironment},
    Replacement{"punycode", kFromNpm},
    Replacement{"querystring", "Use URLSearchParams"},
    Replacement{"readline", kFiles},
    Replacement{"repl", kNothing},
    Replacement{"sqlite", "Use a service"},
    Replacement{"stream", kFromNpm},
    Replacement{"string_decoder", kFromNpm},
    Replacement{"sys", kFromNpm},
    Replacement{"test", kNothing},
    Replacement{"timers", "Use sleep, setTimeout and setInterval"},
    Replacement{"tls", kNetwork},
    Replacement{"trace_events", kNothing},
    Replacement{"tty", kFiles},
    Replacement{"url", "Use URL and URLSearchParams"},
    Replacement{"util", kFromNpm},
    Replacement{"v8", kNothing},
    Replacement{"vm", kNothing},
    Replacement{"wasi", kNothing},
    Replacement{"worker_threads", kProcesses},
    Replacement{"zlib", kFromNpm},
};

// "node:fs/promises" → "fs", if it is a module of Node.js.
const Replacement* node_module(std::string_view name) {
  constexpr std::string_view kPrefix = "node:";
  const bool certain = name.starts_with(kPrefix);
  if (certain) name.remove_prefix(kPrefix.size());
  name = name.substr(0, name.find('/'));
  const auto found = std::find_if(kNodeModules.begin(), kNodeModules.end(),
                                  [name](const Replacement& one) { return one.module == name; });
  if (found != kNodeModules.end()) return &*found;
  static constexpr Replacement kUnknown{"", kNothing};
  return certain ? &kUnknown : nullptr;
}

// The names in `Could not resolve "…"`, each once.
std::set<std::string> unresolved(std::string_view messages) {
  constexpr std::string_view kMark = "Could not resolve \"";
  std::set<std::string> names;
  for (auto at = messages.find(kMark); at != std::string_view::npos; at = messages.find(kMark)) {
    messages.remove_prefix(at + kMark.size());
    names.emplace(messages.substr(0, messages.find_first_of("\"\n")));
  }
  return names;
}

// The package of "name/part" or "@scope/name/part".
std::string package_of(const std::string& import) {
  const auto slash = import.find('/', import.starts_with('@') ? import.find('/') + 1 : 0);
  return import.substr(0, slash);
}

std::string advice_about(const std::string& import, const fs::path& folder) {
  if (const Replacement* const node = node_module(import)) {
    return "A task does not run in Node.js and cannot import \"" + import + "\". " +
           std::string(node->instead) + ".\n";
  }
  const bool is_package = !import.empty() && import[0] != '.' && import[0] != '/';
  if (!is_package) return "";
  return "\"" + import + "\" is not installed: run `npm install " + package_of(import) + "` in " +
         folder.string() + ".\n";
}

// Paragraphs about options of esbuild, which who publishes does not give.
std::string without_its_options(std::string_view messages) {
  std::string out;
  while (!messages.empty()) {
    const auto end = messages.find("\n\n");
    const auto size = end == std::string_view::npos ? messages.size() : end + 2;
    const std::string_view paragraph = messages.substr(0, size);
    messages.remove_prefix(size);
    const bool is_note = paragraph.starts_with("  ") && !paragraph.starts_with("    ");
    const bool about_options =
        paragraph.find("--platform=") != std::string_view::npos ||
        paragraph.find("You can mark the path") != std::string_view::npos ||
        paragraph.find("You need to set the output format") != std::string_view::npos;
    if (!is_note || !about_options) out += paragraph;
  }
  while (out.ends_with('\n')) out.pop_back();
  return out;
}

// What the bundle's last line, its map, tells about it.
void describe(Bundle& made) {
  constexpr std::string_view kMark = "\n//# sourceMappingURL=data:application/json;base64,";
  const auto at = made.code.rfind(kMark);
  if (at == std::string::npos) return;
  made.map_bytes = static_cast<std::int64_t>(made.code.size() - at - 1);
  std::string_view encoded = std::string_view(made.code).substr(at + kMark.size());
  while (encoded.ends_with('\n')) encoded.remove_suffix(1);
  const auto map = nlohmann::json::parse(from_base64(encoded).value_or(""), nullptr, false);
  if (!map.is_object() || !map.contains("sources")) return;
  made.inputs = static_cast<std::int64_t>(map["sources"].size());
}

Error no_esbuild(const fs::path& file, const std::string& why, const fs::path& folder) {
  return {Errc::config_invalid,
          file.string() + " " + why + ", so it has to be bundled, and there is no esbuild to do " +
              "it. Run `npm install esbuild` in " + folder.string() +
              ", or name one that is installed elsewhere: --esbuild PATH, or SEQUENTIAL_ESBUILD"};
}

Error failure(const ChildEnd& end, const fs::path& program, const fs::path& file,
              const fs::path& folder, std::int64_t timeout_s) {
  const std::string who = program.string();
  switch (end.how) {
    case ChildEnd::How::timed_out:
      return {Errc::config_invalid, who + " did not end in " + std::to_string(timeout_s) +
                                        " s (--bundle-timeout) and was ended"};
    case ChildEnd::How::output_too_large:
      return {Errc::code_invalid, "The bundle of " + file.string() + " has more than " +
                                      std::to_string(kCodeBytesMax) + " bytes"};
    case ChildEnd::How::signalled:
      return {Errc::config_invalid, who + " was ended by signal " + std::to_string(end.number)};
    case ChildEnd::How::exited:
      break;
  }
  if (end.errors.empty()) {
    return {Errc::config_invalid, who + " failed with exit status " + std::to_string(end.number) +
                                      " and did not say why: is it esbuild?"};
  }
  return {Errc::code_invalid,
          file.string() + " cannot be bundled:\n" + explain_esbuild(end.errors, folder)};
}

}  // namespace

std::string why_bundle(const fs::path& file, std::string_view code, BundleOptions::When when) {
  if (when == BundleOptions::When::never) return "";
  if (when == BundleOptions::When::always) return "is published with --bundle";
  if (has_extension(file, {".ts", ".mts", ".cts"})) return "is TypeScript";
  if (has_extension(file, {".tsx", ".jsx"})) return "is JSX";
  return imports_anything(code) ? "imports other files or packages" : "";
}

Result<fs::path> find_esbuild(const EsbuildPlaces& places) {
  if (!places.named.empty()) {
    std::error_code ignored;
    const fs::path named = fs::absolute(places.named, ignored);
    if (is_program(named)) return named;
    return Error{Errc::config_invalid, places.named + " (--esbuild, or SEQUENTIAL_ESBUILD) is " +
                                           "not a program that can be run"};
  }
  fs::path found;
  upwards(places.folder, [&found](const fs::path& folder) {
    const fs::path here = folder / "node_modules/.bin/esbuild";
    if (is_program(here)) found = here;
    return !found.empty();
  });
  if (!found.empty()) return found;
  const fs::path installed =
      places.program.parent_path().parent_path() / "lib/sequential-runner/esbuild";
  if (!places.program.empty() && is_program(installed)) return installed;
  return find_in_path(places.path);
}

fs::path project_folder(const fs::path& file) {
  fs::path found = file.parent_path();
  upwards(file.parent_path(), [&found](const fs::path& folder) {
    std::error_code ignored;
    const bool here = fs::is_regular_file(folder / "package.json", ignored);
    if (here) found = folder;
    return here;
  });
  return found;
}

std::vector<std::string> esbuild_arguments(const fs::path& file) {
  return {
      "./" + file.string(),
      "--bundle",
      // A script rather than a module: an engine compiles it once for all runs of an isolate.
      "--format=cjs",
      // What a package has for browsers comes first, for it needs nothing of Node.js. Named one by
      // one, so that no release of esbuild decides otherwise.
      "--platform=browser",
      "--main-fields=browser,module,main",
      "--conditions=worker,browser,module",
      "--target=chrome102",  // the oldest V8 that the engine is built with, 10.2
      "--define:process.env.NODE_ENV=\"production\"",
      "--define:global=globalThis",
      "--charset=ascii",  // which V8 keeps in half the memory
      "--sourcemap=inline",
      "--sources-content=true",
      "--log-level=warning",
      "--log-limit=" + std::to_string(kMessagesMax),
      "--color=false",
  };
}

std::string explain_esbuild(std::string_view messages, const fs::path& folder) {
  std::string out = without_its_options(messages);
  std::string advice;
  for (const std::string& import : unresolved(messages)) advice += advice_about(import, folder);
  if (messages.find("Top-level await") != std::string_view::npos) {
    advice += "Await only inside the task function: what is around it is evaluated before a run " +
              std::string("can make calls.\n");
  }
  if (advice.empty()) return out;
  advice.pop_back();
  return out + "\n\n" + advice;
}

Result<Bundle> bundle(const fs::path& file, const std::string& why, const BundleOptions& options) {
  std::error_code error;
  const fs::path real = fs::canonical(file, error);
  if (error) return Error{Errc::config_invalid, "Cannot read " + file.string()};
  Bundle made;
  made.folder = project_folder(real);
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  const EsbuildPlaces places{.named = options.esbuild,
                             .folder = real.parent_path(),
                             .program = program,
                             .path = environment("PATH").value_or("")};
  SEQUENTIAL_TRY(const fs::path esbuild, find_esbuild(places));
  if (esbuild.empty()) return no_esbuild(file, why, made.folder);
  const ChildRequest request{.program = esbuild,
                             .arguments = esbuild_arguments(real.lexically_relative(made.folder)),
                             .folder = made.folder,
                             .time_max = Millis{options.timeout_s * 1'000},
                             .output_bytes_max = kCodeBytesMax,
                             .errors_bytes_max = kMessagesBytesMax};
  SEQUENTIAL_TRY(ChildEnd end, run_child(request));
  if (end.how != ChildEnd::How::exited || end.number != 0) {
    return failure(end, esbuild, file, made.folder, options.timeout_s);
  }
  made.code = std::move(end.output);
  made.warnings = explain_esbuild(end.errors, made.folder);
  describe(made);
  return made;
}

}  // namespace sequential::cli
