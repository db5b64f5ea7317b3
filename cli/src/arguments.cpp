#include "arguments.h"

#include <charconv>
#include <limits>
#include <string_view>
#include <utility>
#include <vector>

#include "format.h"
#include "suggest.h"

namespace sequential::cli {
namespace {

constexpr std::size_t kWordShownMax = 60;  // columns

CLI::Validator number(std::int64_t min, std::int64_t max, std::string wanted) {
  const auto check = [min, max, wanted = std::move(wanted)](std::string& text) {
    std::int64_t value = 0;
    const char* const end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, value);
    const bool good = error == std::errc{} && rest == end && value >= min && value <= max;
    return good ? std::string() : wanted + ", not " + fit(harmless(text), kWordShownMax);
  };
  return CLI::Validator(check, "");
}

std::string in_quotes(std::string_view word) {
  return "\"" + fit(harmless(word), kWordShownMax) + "\"";
}

std::string name_of(const CLI::App& level) {
  std::string name;
  for (const CLI::App* one = &level; one->get_parent() != nullptr; one = one->get_parent()) {
    name = one->get_name() + (name.empty() ? "" : " ") + name;
  }
  return name;
}

std::vector<std::string> commands_of(const CLI::App& level) {
  std::vector<std::string> names;
  for (const CLI::App* one : level.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(one->get_name());
  }
  return names;
}

// The options that may stand here: the command's own, and those of every command above it.
std::vector<const CLI::Option*> options_of(const CLI::App& level) {
  std::vector<const CLI::Option*> options;
  for (const CLI::App* one = &level; one != nullptr; one = one->get_parent()) {
    for (const CLI::Option* option : one->get_options()) options.push_back(option);
  }
  return options;
}

const CLI::Option* find_option(const CLI::App& level, const std::string& flag) {
  for (const CLI::Option* option : options_of(level)) {
    if (option->check_name(flag)) return option;
  }
  return nullptr;
}

std::string listed(const std::vector<std::string>& words, std::string_view last) {
  std::string text;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (i > 0) text += i + 1 == words.size() ? last : std::string_view(", ");
    text += words[i];
  }
  return text;
}

std::string unknown_command(const CLI::App& level, std::string_view word) {
  const auto known = commands_of(level);
  const std::string group = name_of(level);
  const std::string prefix = group.empty() ? "" : group + " ";
  const std::string guess = nearest(word, known);
  const std::string all =
      (group.empty() ? "there are " : group + " has ") + listed(known, " and ");
  return "there is no command " + in_quotes(prefix + std::string(word)) + "; " +
         (guess.empty() ? all : "did you mean " + prefix + guess + "?");
}

std::string unknown_option(const CLI::App& level, const std::string& flag) {
  std::vector<std::string> known;
  for (const CLI::Option* option : options_of(level)) {
    for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
  }
  const std::string guess = nearest(flag, known);
  return "there is no option " + in_quotes(flag) +
         (guess.empty() ? "" : "; did you mean " + guess + "?");
}

// Goes along the arguments as the parser did, up to the first that leads nowhere.
std::string first_unknown(const CLI::App& app, int argc, const char* const* argv) {
  const CLI::App* level = &app;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--") return "";
    if (word.size() > 1 && word.front() == '-') {
      const std::string flag = word.substr(0, word.find('='));
      const CLI::Option* option = find_option(*level, flag);
      if (option == nullptr && word.starts_with("--")) return unknown_option(*level, flag);
      const bool takes_next = option != nullptr && option->get_items_expected_max() > 0 &&
                              word.find('=') == std::string::npos;
      if (takes_next) ++i;
      continue;
    }
    if (commands_of(*level).empty()) continue;  // an argument of the command
    const auto next =
        level->get_subcommands([&word](const CLI::App* one) { return one->get_name() == word; });
    if (next.empty()) return unknown_command(*level, word);
    level = next.front();
  }
  const auto known = commands_of(*level);
  if (known.empty()) return "";
  const std::string group = name_of(*level);
  return (group.empty() ? "name a command: " : group + " needs one of its commands: ") +
         listed(known, " or ");
}

}  // namespace

CLI::Validator whole_number(std::int64_t min, std::int64_t max) {
  return number(min, max,
                "must be a whole number from " + std::to_string(min) + " to " +
                    std::to_string(max));
}

CLI::Validator positive_number() {
  return number(1, std::numeric_limits<int>::max(), "must be a positive whole number");
}

CLI::Validator run_id() {
  return number(1, std::numeric_limits<std::int64_t>::max(), "must be a positive whole number");
}

std::pair<std::string, std::string> attribute_of(const std::string& text) {
  const auto at = text.find_first_of("=<>");
  if (at == 0 || at == std::string::npos) {
    throw CLI::ValidationError("--attr", "takes NAME=VALUE, NAME<N or NAME>N, not '" + text + "'");
  }
  const std::size_t skip = text[at] == '=' ? 1 : 0;
  return {"attr." + text.substr(0, at), text.substr(at + skip)};
}

std::string empty_value(int argc, const char* const* argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument.starts_with("--") && argument.ends_with('=')) return one_line(argument);
  }
  return "";
}

std::string explain(const CLI::App& app, const CLI::ParseError& error, int argc,
                    const char* const* argv) {
  const bool about_names = dynamic_cast<const CLI::RequiredError*>(&error) != nullptr ||
                           dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr;
  if (about_names) {
    if (auto text = first_unknown(app, argc, argv); !text.empty()) return text;
  }
  std::string text = error.what();
  // "id: must be …" reads better without the colon.
  if (const auto at = text.find(": must be "); at != std::string::npos) text.erase(at, 1);
  return harmless(text);
}

}  // namespace sequential::cli
