#include "sequential/config/load.h"

#include <algorithm>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "check.h"
#include "file.h"
#include "sequential/base/json_text.h"
#include "settings.h"
#include "suggest.h"
#include "value.h"

namespace sequential::config {
namespace {

constexpr std::size_t kProblemsShownMax = 20;
constexpr std::size_t kNameShownBytesMax = 120;

class Loader {
 public:
  Result<void> add_file(std::string_view text, std::string_view name) {
    const std::string origin = "file " + std::string(name);
    std::vector<Error> unknown;
    SEQUENTIAL_TRY(const FlatValues values, flatten(text, name, unknown));
    for (const Error& problem : unknown) add_problem(origin, problem);
    for (const auto& [path, value] : values) {
      const Setting& setting = *find_setting(path);
      note(setting, origin, assign_json(setting, value, loaded_.config));
    }
    return success();
  }

  // A variable of one of our sections that names no setting is refused, because a limit that is
  // silently not applied is worse than a start that fails. Others (SEQUENTIAL_FAULTS) are not ours.
  void add_environment(const Sources::Pairs& variables) {
    std::vector<std::string> known;
    for (const Setting& setting : settings()) known.push_back(environment_name(setting.path));
    for (const auto& [name, value] : variables) {
      const std::string origin = "environment " + clip_utf8(name, kNameShownBytesMax);
      const auto found = std::find(known.begin(), known.end(), name);
      if (found != known.end()) {
        const Setting& setting = settings()[static_cast<std::size_t>(found - known.begin())];
        note(setting, origin, assign_text(setting, value, loaded_.config));
      } else if (is_of_a_section(name)) {
        const std::string guess = nearest(name, known);
        std::string message = "no such setting";
        if (!guess.empty()) message += "; did you mean " + guess + "?";
        add_problem(origin, {Errc::config_invalid, std::move(message), ""});
      }
    }
  }

  void add_flags(const Sources::Pairs& flags) {
    for (const auto& [path, value] : flags) {
      const Setting* setting = find_setting(path);
      if (setting == nullptr) {
        add_problem("flag", {Errc::config_invalid, unknown_setting(path),
                             clip_utf8(path, kNameShownBytesMax)});
      } else {
        note(*setting, "flag", assign_text(*setting, value, loaded_.config));
      }
    }
  }

  Result<Loaded> finish() && {
    // Only of values that stand: a wrong one is reported once.
    if (messages_.empty()) {
      for (const Error& problem : check_together(loaded_.config)) add_problem("", problem);
    }
    if (messages_.empty()) {
      derive_paths(loaded_.config);
      return std::move(loaded_);
    }
    std::string all;
    for (const std::string& message : messages_) {
      if (!all.empty()) all += "\n";
      all += message;
    }
    return Error(Errc::config_invalid, std::move(all), first_field_);
  }

 private:
  static bool is_of_a_section(std::string_view variable) {
    return std::any_of(settings().begin(), settings().end(), [variable](const Setting& setting) {
      const std::string_view section = setting.path.substr(0, setting.path.find('.'));
      return variable.starts_with(environment_name(section) + "_");
    });
  }

  void note(const Setting& setting, const std::string& origin, const Result<void>& assigned) {
    if (!assigned) return add_problem(origin, assigned.error());
    auto& origins = loaded_.origins;
    const auto found = std::find_if(origins.begin(), origins.end(), [&setting](const auto& entry) {
      return entry.first == setting.path;
    });
    if (found == origins.end()) {
      origins.emplace_back(setting.path, origin);
    } else {
      found->second = origin;
    }
  }

  void add_problem(const std::string& origin, const Error& problem) {
    if (first_field_.empty()) first_field_ = problem.field;
    if (messages_.size() == kProblemsShownMax) messages_.emplace_back("and more");
    if (messages_.size() > kProblemsShownMax) return;
    std::string message = problem.field;
    if (!origin.empty()) message += (message.empty() ? "" : " ") + ("(" + origin + ")");
    messages_.push_back(message + ": " + problem.message);
  }

  Loaded loaded_;
  std::vector<std::string> messages_;
  std::string first_field_;
};

}  // namespace

Result<Loaded> load_text(std::string_view json, std::string_view name, const Sources& sources) {
  Loader loader;
  SEQUENTIAL_TRY(loader.add_file(json, name));
  loader.add_environment(sources.environment);
  loader.add_flags(sources.flags);
  return std::move(loader).finish();
}

Result<Loaded> load(const Sources& sources) {
  if (sources.file.empty()) return load_text("{}", "", sources);
  SEQUENTIAL_TRY(const std::string text, read_file(sources.file));
  return load_text(text, sources.file, sources);
}

Result<std::pair<std::string, std::string>> parse_set(std::string_view argument) {
  const auto equals = argument.find('=');
  if (equals == 0 || equals == std::string_view::npos) {
    return Error(Errc::config_invalid,
                 "--set takes NAME=VALUE, such as server.port=0, not " +
                     json_string(clip_utf8(argument, kNameShownBytesMax)));
  }
  return std::pair{std::string(argument.substr(0, equals)),
                   std::string(argument.substr(equals + 1))};
}

}  // namespace sequential::config
