// runs list, count, delete, purge; tasks retention.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "commands.h"
#include "interrupt.h"
#include "json_body.h"
#include "sequential/base/json_text.h"

namespace sequential::cli {
namespace {

using nlohmann::json;

constexpr int kPage = 1'000;

void add_query(std::string& path, std::string_view name, const std::string& value) {
  path += (path.find('?') == std::string::npos ? "?" : "&");
  path += percent_encode(std::string(name)) + "=" + percent_encode(value);
}

std::string path_of(const char* root, const RunsFilter& filter) {
  std::string path = root;
  for (const auto& [name, value] : filter) add_query(path, name, value);
  return path;
}

const json& runs_of(const json& body) {
  static const json empty = json::array();
  return body.contains("runs") && body["runs"].is_array() ? body["runs"] : empty;
}

void print_table(const Session& session, const json& runs) {
  Table table({"RUN", "TASK", "VERSION", "STATUS", "CALLS", "CREATED (UTC)", "TOOK"}, {0, 2, 4, 6});
  for (const json& run : runs) {
    const std::string status = text_of(run, "status");
    table.add({text_of(run, "id"), harmless(text_of(run, "task")), text_of(run, "version"),
               paint(session.out(), status_colour(status), harmless(status)),
               grouped(number_of(run, "calls")), show_time(text_of(run, "created_at")),
               show_duration_ms(ms_between(text_of(run, "created_at"), text_of(run, "ended_at")))});
  }
  session.print(table.text(session.out()));
}

std::string cursor_of(const json& body) {
  return has(body, "next_cursor") ? text_of(body, "next_cursor") : "";
}

// Every page: tables one below the other; with --json one run a line (JSON Lines).
int list_all(Session& session, const std::string& path, std::string cursor) {
  const Interrupt interrupt;
  std::int64_t shown = 0;
  for (;;) {
    std::string page = path;
    if (!cursor.empty()) add_query(page, "cursor", cursor);
    const Session::Answer answer = session.ask({.path = page});
    if (!answer) return answer.exit;
    const json body = parse_body(answer.response.body).value_or(json::object());
    const json& runs = runs_of(body);
    if (session.json()) {
      for (const json& run : runs) {
        session.print(run.dump(-1, ' ', false, json::error_handler_t::replace) + "\n");
      }
    } else if (!runs.empty()) {
      print_table(session, runs);
    }
    shown += static_cast<std::int64_t>(runs.size());
    cursor = cursor_of(body);
    if (cursor.empty()) break;
    session.note(paint(session.err(), Colour::dim,
                       grouped(shown) + " runs so far, at run " + harmless(cursor)));
    if (Interrupt::requested()) return kExitStillRunning;
  }
  if (shown == 0) session.note("no runs");
  return kExitOk;
}

std::string purge_body(const RunsPurgeOptions& options, const std::string& cursor) {
  json body = {{"filter", json::object()}, {"dry_run", options.dry_run}};
  for (const auto& [name, value] : options.filter) {
    auto& values = body["filter"][name];
    if (values.is_null()) values = json::array();
    values.push_back(value);
  }
  if (options.older_than) body["older_than"] = *options.older_than;
  if (!cursor.empty()) body["cursor"] = cursor;
  return body.dump(-1, ' ', false, json::error_handler_t::replace);
}

// "", "forever", "0d": what would set no bound to what is removed.
bool no_age(const std::string& text) {
  return text.find_first_of("123456789") == std::string::npos;
}

struct Purged {
  int exit = kExitOk;
  std::int64_t matched = 0, runs = 0, rows = 0, failures = 0;
};

// Request by request, until the server has looked at all.
Purged purge_all(Session& session, const RunsPurgeOptions& options) {
  const Interrupt interrupt;
  Purged sum;
  for (std::string cursor;;) {
    const Session::Answer answer = session.ask({.method = "POST",
                                                .path = "/runs/purge",
                                                .headers = {{"Content-Type", "application/json"}},
                                                .body = purge_body(options, cursor)});
    if (!answer) {
      sum.exit = answer.exit;
      return sum;
    }
    const json body = parse_body(answer.response.body).value_or(json::object());
    sum.matched += number_of(body, "matched");
    sum.runs += number_of(body, "removed_runs");
    sum.rows += number_of(body, "removed_rows");
    sum.failures += number_of(body, "failures");
    if (body.contains("failed") && body["failed"].is_array()) {
      for (const json& one : body["failed"]) {
        session.note("run " + text_of(one, "id") +
                     " was not removed: " + harmless(text_of(one, "message")));
      }
    }
    cursor = cursor_of(body);
    if (cursor.empty()) return sum;
    session.note(paint(session.err(), Colour::dim,
                       grouped(options.dry_run ? sum.matched : sum.runs) + " runs so far"));
    if (Interrupt::requested()) {
      sum.exit = kExitStillRunning;
      return sum;
    }
  }
}

}  // namespace

int runs_list(Session& session, const RunsListOptions& options) {
  std::string path = path_of("/runs", options.filter);
  add_query(path, "limit", std::to_string(options.all ? kPage : options.limit));
  if (options.all) return list_all(session, path, options.cursor);
  if (!options.cursor.empty()) add_query(path, "cursor", options.cursor);
  const Session::Answer answer = session.ask({.path = path});
  if (!answer) return answer.exit;
  if (session.json()) {
    session.print_json(answer.response.body);
    return kExitOk;
  }
  const json body = parse_body(answer.response.body).value_or(json::object());
  const json& runs = runs_of(body);
  const std::string cursor = cursor_of(body);
  if (!runs.empty()) {
    print_table(session, runs);
  } else {
    session.note(cursor.empty() ? "no runs" : "no runs among those looked at");
  }
  if (!cursor.empty()) {
    session.note(paint(session.err(), Colour::dim, "more: --cursor " + harmless(cursor)));
  }
  return kExitOk;
}

int runs_count(Session& session, const RunsFilter& filter) {
  const Session::Answer answer = session.ask({.path = path_of("/runs/count", filter)});
  if (!answer) return answer.exit;
  if (session.json()) {
    session.print_json(answer.response.body);
    return kExitOk;
  }
  const json body = parse_body(answer.response.body).value_or(json::object());
  const bool more = body.contains("more") && body["more"] == true;
  session.print((more ? "at least " : "") + grouped(number_of(body, "count")) + "\n");
  return kExitOk;
}

int runs_delete(Session& session, std::int64_t id) {
  const Session::Answer answer =
      session.ask({.method = "DELETE", .path = "/runs/" + std::to_string(id)});
  if (!answer) return answer.exit;
  session.print(session.json() ? "{}\n" : "removed run " + std::to_string(id) + "\n");
  return kExitOk;
}

int runs_purge(Session& session, const RunsPurgeOptions& options) {
  for (const auto& [name, value] : options.filter) {
    if (value.empty()) {
      return session.usage("The filter's " + name + " is empty; leave it out if it is not meant");
    }
  }
  if (options.older_than && no_age(*options.older_than)) {
    return session.usage(
        "--older-than must be longer than 0, such as 30d; leave it out if no age is meant");
  }
  if (!options.dry_run && !options.yes && !options.older_than && options.filter.empty()) {
    return session.usage(
        "Without --older-than or a filter this removes every run that has ended; say --yes if that "
        "is meant, or look first with --dry-run");
  }
  const Purged purged = purge_all(session, options);
  // What was removed before a failure is said too.
  const bool some = purged.runs > 0 || purged.matched > 0;
  if (purged.exit != kExitOk && purged.exit != kExitStillRunning && !some) return purged.exit;
  if (session.json()) {
    JsonObject object;
    object.boolean("dry_run", options.dry_run).number("matched", purged.matched);
    object.number("removed_runs", purged.runs).number("removed_rows", purged.rows);
    object.number("failures", purged.failures);
    session.print_json(std::move(object).text());
  } else if (options.dry_run) {
    session.print("would remove " + grouped(purged.matched) + " runs\n");
  } else {
    session.print("removed " + grouped(purged.runs) + " runs, " + grouped(purged.rows) +
                  " rows in all\n");
  }
  return purged.exit == kExitOk && purged.failures > 0 ? kExitServer : purged.exit;
}

int tasks_retention(Session& session, const RetentionOptions& options) {
  json body = json::object();
  if (!options.completed.empty()) body["completed"] = options.completed;
  if (!options.failed.empty()) body["failed"] = options.failed;
  const std::string path = "/tasks/" + percent_encode(options.task) + "/retention";
  Request request{.path = path};
  if (options.forget) request.method = "DELETE";
  if (!options.forget && !body.empty()) {
    request = {.method = "PUT",
               .path = path,
               .headers = {{"Content-Type", "application/json"}},
               .body = body.dump(-1, ' ', false, json::error_handler_t::replace)};
  }
  const Session::Answer answer = session.ask(request);
  if (!answer) return answer.exit;
  if (session.json()) {
    session.print_json(answer.response.body);
    return kExitOk;
  }
  const json kept = parse_body(answer.response.body).value_or(json::object());
  const auto shown = [](std::int64_t ms) {
    constexpr std::int64_t kDay = 86'400'000;
    if (ms == 0) return std::string("for ever");
    if (ms % kDay != 0) return show_duration_ms(ms);
    return grouped(ms / kDay) + (ms == kDay ? " day" : " days");
  };
  session.print("completed: " + shown(number_of(kept, "completed_ms")) + "\n" +
                "failed:    " + shown(number_of(kept, "failed_ms")) + "\n");
  return kExitOk;
}

}  // namespace sequential::cli
