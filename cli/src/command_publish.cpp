#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "bundle.h"
#include "commands.h"
#include "input.h"
#include "json_body.h"
#include "sequential/base/json_text.h"

namespace sequential::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kSourceColumnsMax = 100;
constexpr int kPayloadTooLarge = 413;

// "endpoints/hello.js" → "hello".
std::string name_from(const std::string& file) {
  const fs::path path(file);
  const std::string extension = path.extension();
  for (const char* known : {".js", ".mjs", ".cjs", ".jsx", ".ts", ".mts", ".cts", ".tsx"}) {
    if (extension == known) return path.stem();
  }
  return path.filename();
}

// What is published: a file as it is, or the bundle that was made of it.
struct Prepared {
  std::string file;   // as the user named it
  std::string code;   // as it is sent
  fs::path folder;    // that the names of sources in the code's map are relative to
  std::string about;  // the bundle, in words; empty: the file is sent as it is
  std::int64_t inputs = 0, map_bytes = 0;

  bool bundled() const { return !about.empty(); }
};

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

// Where the code is at fault, and that line if we have it. The server counts lines of what was
// sent; of code with a source map, those of the author's file.
struct Fault {
  std::string file, text;
};
Fault fault_of(const Prepared& prepared, const Problem& problem) {
  if (problem.source.empty()) {
    return {prepared.bundled() ? prepared.file + " (bundled)" : prepared.file, prepared.code};
  }
  std::error_code ignored;
  const fs::path source = (prepared.folder / problem.source).lexically_normal();
  const fs::path near = fs::proximate(source, ignored);
  const auto text = read_file(source, kCodeBytesMax);
  return {near.empty() ? source.string() : near.string(), text ? text.value() : std::string()};
}

int report_refusal(const Session& session, const Prepared& prepared, const Response& response) {
  const Problem problem = problem_of(response);
  if (session.json()) session.print_json(response.body);
  if (problem.line <= 0) {
    const int exit = session.report(problem);
    if (problem.status == kPayloadTooLarge && prepared.bundled()) {
      session.note("This is " + prepared.about +
                   ". The server's setting server.publish_bytes_max says how much it takes.");
    }
    return exit;
  }
  std::string position = ":" + std::to_string(problem.line);
  if (problem.column > 0) position += ":" + std::to_string(problem.column);
  // The server names the place by the task's name; here it is a file.
  std::string what = problem.detail;
  if (const auto at = what.find(position + ": "); at != std::string::npos) {
    what.erase(0, at + position.size() + 2);
  }
  const Fault fault = fault_of(prepared, problem);
  session.note(paint(session.err(), Colour::bold, harmless(fault.file + position) + ": ") +
               paint(session.err(), Colour::red, "error: ") + harmless(what) +
               (fault.text.empty() ? "" : "\n" + excerpt(session.err(), fault.text, problem)));
  return kExitRefused;
}

std::string in_words(const Bundle& bundle) {
  return "bundled from " + grouped(bundle.inputs) + (bundle.inputs == 1 ? " file, " : " files, ") +
         show_size(static_cast<std::int64_t>(bundle.code.size())) + " of which " +
         show_size(bundle.map_bytes) + " are the source map";
}

// Errors: the exit code, having said what is wrong.
struct Preparation {
  int exit = kExitOk;
  Prepared prepared;
};
Preparation prepare(const Session& session, const PublishOptions& options,
                    const std::string& file) {
  auto code = read_file(file, kCodeBytesMax);
  if (!code) return {session.report(code.error()), {}};
  if (!is_valid_utf8(code.value())) return {session.usage(file + " is not UTF-8 text"), {}};
  Prepared prepared;
  prepared.file = file;
  prepared.folder = fs::path(file).parent_path();
  prepared.code = std::move(code).value();
  const std::string why = why_bundle(file, prepared.code, options.bundle.when);
  if (why.empty()) return {kExitOk, std::move(prepared)};

  auto made = bundle(file, why, options.bundle);
  if (!made) {
    const int exit = session.report(made.error());
    return {made.error().code == Errc::code_invalid ? kExitRefused : exit, {}};
  }
  if (!made.value().warnings.empty()) session.note(harmless(made.value().warnings));
  prepared.about = in_words(made.value());
  prepared.inputs = made.value().inputs;
  prepared.map_bytes = made.value().map_bytes;
  prepared.folder = std::move(made.value().folder);
  prepared.code = std::move(made.value().code);
  return {kExitOk, std::move(prepared)};
}

// The server's own JSON, with what it cannot know.
std::string with_bundle(std::string_view body, const Prepared& prepared) {
  const auto close = body.rfind('}');
  if (!prepared.bundled() || close == std::string_view::npos) return std::string(body);
  JsonObject bundled;
  bundled.number("inputs", prepared.inputs)
      .number("bytes", static_cast<std::int64_t>(prepared.code.size()))
      .number("source_map_bytes", prepared.map_bytes);
  return std::string(body.substr(0, close)) + ",\"bundled\":" + std::move(bundled).text() + "}";
}

int report_published(const Session& session, const Prepared& prepared, const Response& response) {
  if (session.json()) {
    session.print_json(with_bundle(response.body, prepared));
    return kExitOk;
  }
  const auto answer = parse_body(response.body).value_or(nlohmann::json::object());
  const bool created = !answer.contains("created") || answer["created"] == true;
  session.print(paint(session.out(), created ? Colour::green : Colour::dim,
                      created ? "published" : "unchanged") +
                " " + harmless(text_of(answer, "name")) + " version " +
                std::to_string(number_of(answer, "version")) +
                (prepared.bundled() ? ", " + prepared.about : "") + "\n");
  if (const std::string note = text_of(answer, "note"); !note.empty()) {
    std::string left_out;
    for (const auto& one : list_of(answer, "not_stored")) {
      if (one.is_string()) left_out += (left_out.empty() ? "" : ", ") + one.get<std::string>();
    }
    session.note(paint(session.err(), Colour::yellow, "not stored: ") + harmless(left_out) + " (" +
                 harmless(note) + ")");
  }
  return kExitOk;
}

int publish_file(Session& session, const PublishOptions& options, const std::string& file) {
  const auto [exit, prepared] = prepare(session, options, file);
  if (exit != kExitOk) return exit;
  const std::string name = options.name.empty() ? name_from(file) : options.name;

  JsonObject body;
  body.string("code", prepared.code);
  if (!options.description.empty()) body.string("description", options.description);
  const Request request{.method = "PUT",
                        .path = "/tasks/" + percent_encode(name),
                        .headers = {{"Content-Type", "application/json"}},
                        .body = std::move(body).text()};
  const auto sent = session.client().send(request);
  if (!sent) return session.report(sent.error());
  if (sent.value().status >= 300) return report_refusal(session, prepared, sent.value());
  return report_published(session, prepared, sent.value());
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
