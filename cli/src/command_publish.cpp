#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "commands.h"
#include "input.h"
#include "json_body.h"
#include "sequential/base/json_text.h"

namespace sequential::cli {
namespace {

constexpr std::size_t kCodeBytesMax = 64u << 20;  // the server's own limit is lower
constexpr std::size_t kSourceColumnsMax = 100;

// "endpoints/hello.js" → "hello".
std::string name_from(const std::string& file) {
  const std::filesystem::path path(file);
  const std::string extension = path.extension();
  const bool script = extension == ".js" || extension == ".mjs" || extension == ".cjs";
  return script ? path.stem() : path.filename();
}

std::string_view line_of(std::string_view code, std::int64_t number) {
  for (std::int64_t line = 1; line < number; ++line) {
    const auto end = code.find('\n');
    if (end == std::string_view::npos) return "";
    code.remove_prefix(end + 1);
  }
  std::string_view line = code.substr(0, code.find('\n'));
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

// The line at fault and, below it, a caret at the column. Long lines are cut around the column.
std::string excerpt(const Terminal& terminal, std::string_view code, const Problem& problem) {
  std::string_view line = line_of(code, problem.line);
  auto column = static_cast<std::size_t>(std::max<std::int64_t>(problem.column, 1)) - 1;
  column = std::min(column, line.size());
  if (line.size() > kSourceColumnsMax && column > kSourceColumnsMax / 2) {
    std::size_t cut = std::min(column - kSourceColumnsMax / 2, line.size() - kSourceColumnsMax);
    while (cut < column && (line[cut] & '\xC0') == '\x80') ++cut;  // not inside a character
    line.remove_prefix(cut);
    column -= cut;
  }
  const std::string number = std::to_string(problem.line);
  std::string shown;  // a tab takes one column here, so that the caret stands where it should
  for (const char c : line) shown.push_back(c == '\t' ? ' ' : c);
  const std::size_t indent = width_of(std::string_view(shown).substr(0, column));
  std::string out = "  " + paint(terminal, Colour::dim, number + " |") + " " +
                    harmless(fit(shown, kSourceColumnsMax));
  if (problem.column > 0) {
    out += "\n  " + std::string(number.size(), ' ') + paint(terminal, Colour::dim, " |") + " " +
           std::string(indent, ' ') + paint(terminal, Colour::red, "^");
  }
  return out;
}

int report_refusal(const Session& session, const std::string& file, std::string_view code,
                   const Response& response) {
  const Problem problem = problem_of(response);
  if (session.json()) session.print_json(response.body);
  if (problem.line <= 0) return session.report(problem);
  std::string position = ":" + std::to_string(problem.line);
  if (problem.column > 0) position += ":" + std::to_string(problem.column);
  // The server names the place by the task's name; here it is a file.
  std::string what = problem.detail;
  if (const auto at = what.find(position + ": "); at != std::string::npos) {
    what.erase(0, at + position.size() + 2);
  }
  session.note(paint(session.err(), Colour::bold, harmless(file + position) + ": ") +
               paint(session.err(), Colour::red, "error: ") + harmless(what) + "\n" +
               excerpt(session.err(), code, problem));
  return kExitRefused;
}

int publish_file(Session& session, const PublishOptions& options, const std::string& file) {
  const auto code = read_file(file, kCodeBytesMax);
  if (!code) return session.report(code.error());
  if (!is_valid_utf8(code.value())) return session.usage(file + " is not UTF-8 text");
  const std::string name = options.name.empty() ? name_from(file) : options.name;

  JsonObject body;
  body.string("code", code.value());
  if (!options.description.empty()) body.string("description", options.description);
  const Request request{.method = "PUT",
                        .path = "/tasks/" + percent_encode(name),
                        .headers = {{"Content-Type", "application/json"}},
                        .body = std::move(body).text()};
  const auto sent = session.client().send(request);
  if (!sent) return session.report(sent.error());
  const Response& response = sent.value();
  if (response.status >= 300) return report_refusal(session, file, code.value(), response);
  if (session.json()) {
    session.print_json(response.body);
    return kExitOk;
  }
  const auto answer = parse_body(response.body).value_or(nlohmann::json::object());
  const bool created = !answer.contains("created") || answer["created"] == true;
  session.print(paint(session.out(), created ? Colour::green : Colour::dim,
                      created ? "published" : "unchanged") +
                " " + harmless(text_of(answer, "name")) + " version " +
                std::to_string(number_of(answer, "version")) + "\n");
  if (const std::string note = text_of(answer, "note"); !note.empty()) {
    std::string left_out;
    for (const auto& one : answer.value("not_stored", nlohmann::json::array())) {
      if (one.is_string()) left_out += (left_out.empty() ? "" : ", ") + one.get<std::string>();
    }
    session.note(paint(session.err(), Colour::yellow, "not stored: ") + harmless(left_out) + " (" +
                 harmless(note) + ")");
  }
  return kExitOk;
}

}  // namespace

int publish(Session& session, const PublishOptions& options) {
  if (!options.name.empty() && options.files.size() > 1) {
    return session.usage("--name goes with one file, not with several");
  }
  int exit = kExitOk;
  for (const std::string& file : options.files) {  // one bad file does not keep back the others
    const int one = publish_file(session, options, file);
    if (exit == kExitOk) exit = one;
  }
  return exit;
}

}  // namespace sequential::cli
