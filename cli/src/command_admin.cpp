#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "commands.h"
#include "input.h"
#include "json_body.h"
#include "sequential/base/json_text.h"

namespace sequential::cli {
namespace {

using nlohmann::json;

bool is_terminal(std::FILE* stream) {
  const int fd = ::fileno(stream);
  return fd >= 0 && ::isatty(fd) == 1;
}

std::string key_path(const std::string& name_space, const std::string& key) {
  return "/keystore/" + percent_encode(name_space) + "/" + percent_encode(key);
}

Result<std::string> read_secret(const Session& session, const KeystoreSetOptions& options) {
  if (!options.value_file.empty()) {
    SEQUENTIAL_TRY(std::string text, read_file(options.value_file, kSecretBytesMax));
    return without_final_newline(std::move(text));
  }
  if (is_terminal(session.main().in)) {
    return read_hidden(session.main().in, session.main().err,
                       "value of " + harmless(options.name_space + "/" + options.key) + ": ");
  }
  SEQUENTIAL_TRY(std::string text,
                 read_all(session.main().in, "standard input", kSecretBytesMax));
  return without_final_newline(std::move(text));
}

// {"runs": 3} or [["runs", 3]] as "runs 3" lines.
std::string counts(const Session& session, const json& body, const char* key) {
  if (!has(body, key)) return "";
  std::string out;
  const auto add = [&out](const std::string& name, const json& count) {
    if (!count.is_number_integer()) return;
    std::string label = harmless(name);
    label.resize(std::max<std::size_t>(label.size(), 26), ' ');
    out += "  " + label + grouped(count.get<std::int64_t>()) + "\n";
  };
  if (body[key].is_object()) {
    for (const auto& [name, count] : body[key].items()) add(name, count);
  } else if (body[key].is_array()) {
    for (const json& entry : body[key]) {
      if (entry.is_array() && entry.size() == 2 && entry[0].is_string()) {
        add(entry[0].get<std::string>(), entry[1]);
      }
    }
  }
  return out.empty() ? "" : paint(session.out(), Colour::bold, key) + "\n" + out;
}

}  // namespace

int keystore_set(Session& session, const KeystoreSetOptions& options) {
  const auto value = read_secret(session, options);
  if (!value) return session.report(value.error());
  if (value.value().empty()) return session.usage("The value is empty");
  if (!is_valid_utf8(value.value())) {
    return session.usage("The value is not UTF-8 text; encode it, in base64 for example");
  }
  JsonObject body;
  body.string("value", value.value());
  const Session::Answer answer =
      session.ask({.method = "PUT",
                   .path = key_path(options.name_space, options.key),
                   .headers = {{"Content-Type", "application/json"}},
                   .body = std::move(body).text()});
  if (!answer) return answer.exit;
  if (session.json()) {
    session.print_json(answer.response.body.empty() ? "{}" : answer.response.body);
  } else {
    session.print("stored " + harmless(options.name_space + "/" + options.key) + "\n");
  }
  return kExitOk;
}

int keystore_list(Session& session, const std::string& name_space) {
  const std::string path =
      name_space.empty() ? "/keystore" : "/keystore/" + percent_encode(name_space);
  const Session::Answer answer = session.ask({.path = path});
  if (!answer) return answer.exit;
  if (session.json()) {
    session.print_json(answer.response.body);
    return kExitOk;
  }
  const json body = parse_body(answer.response.body).value_or(json::object());
  if (!has(body, "entries") || body["entries"].empty()) {
    session.note("no keys");
    return kExitOk;
  }
  Table table({"NAMESPACE", "KEY", "VERSION", "UPDATED (UTC)"}, {2});
  for (const json& entry : body["entries"]) {
    table.add({harmless(text_of(entry, "namespace")), harmless(text_of(entry, "key")),
               text_of(entry, "version"), show_time(text_of(entry, "updated_at"))});
  }
  session.print(table.text(session.out()));
  return kExitOk;
}

int keystore_delete(Session& session, const std::string& name_space, const std::string& key) {
  const Session::Answer answer =
      session.ask({.method = "DELETE", .path = key_path(name_space, key)});
  if (!answer) return answer.exit;
  if (session.json()) {
    session.print_json(answer.response.body.empty() ? "{}" : answer.response.body);
  } else {
    session.print("deleted " + harmless(name_space + "/" + key) + "\n");
  }
  return kExitOk;
}

int db_status(Session& session) {
  const Session::Answer answer = session.ask({.path = "/db/status"});
  if (!answer) return answer.exit;
  if (session.json()) {
    session.print_json(answer.response.body);
    return kExitOk;
  }
  const json body = parse_body(answer.response.body).value_or(json::object());
  std::string out = "store     " + harmless(text_of(body, "kind")) + " at " +
                    harmless(text_of(body, "location")) + "\nschema    " +
                    harmless(text_of(body, "schema_version")) + "\nsize      " +
                    show_size(number_of(body, "size_bytes")) + "\n";
  const std::int64_t oldest = number_of(body, "oldest_runnable_ms");
  out += "oldest    " +
         (oldest == 0 ? "nothing waits" : "runnable for " + show_duration_ms(oldest)) + "\n";
  session.print(out + counts(session, body, "tables") + counts(session, body, "runs") +
                counts(session, body, "stack_runs"));
  return kExitOk;
}

int db_clear(Session& session, bool yes) {
  if (!yes) {
    if (!is_terminal(session.main().in)) {
      return session.usage("db clear deletes every run: give --yes to do so without being asked");
    }
    session.note("This deletes every run, with its calls and logs, at " +
                 harmless(session.client().server()) +
                 ".\nPublished tasks and the keystore stay. Type \"clear\" to go on:");
    char line[64] = "";
    const bool read = std::fgets(line, sizeof line, session.main().in) != nullptr;
    if (!read || without_final_newline(line) != "clear") {
      session.note("Nothing was deleted.");
      return kExitUsage;
    }
  }
  const Session::Answer answer = session.ask({.method = "POST",
                                              .path = "/db/clear",
                                              .headers = {{"Content-Type", "application/json"}},
                                              .body = R"({"confirm":"clear"})"});
  if (!answer) return answer.exit;
  if (session.json()) {
    session.print_json(answer.response.body);
    return kExitOk;
  }
  const json body = parse_body(answer.response.body).value_or(json::object());
  session.print("deleted " + grouped(number_of(body, "deleted_runs")) + " runs\n");
  return kExitOk;
}

}  // namespace sequential::cli
