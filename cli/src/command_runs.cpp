#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "commands.h"
#include "events.h"
#include "follow.h"
#include "interrupt.h"
#include "json_body.h"
#include "sequential/base/json_text.h"

namespace sequential::cli {
namespace {

using nlohmann::json;

constexpr std::size_t kPayloadShownMax = 10'000;
constexpr int kLogsPage = 1'000;
constexpr int kChildrenMax = 1'000;
constexpr std::int64_t kFollowWaitSeconds = 1;

std::string duration_of(const json& record, const char* from, const char* to) {
  return show_duration_ms(ms_between(text_of(record, from), text_of(record, to)));
}

// A payload under its name, indented, cut when it is long.
std::string payload(const Session& session, const char* name, std::string_view raw) {
  if (raw.empty() || raw == "null") return "";
  std::string text = harmless(pretty(raw));
  if (text.size() > kPayloadShownMax) {
    text = fit(text, kPayloadShownMax) + "\n(" +
           show_size(static_cast<std::int64_t>(raw.size())) + "; --json shows all)";
  }
  return paint(session.out(), Colour::bold, std::string(name)) + "\n" + text + "\n";
}

// "3 completed, 1 running": the runs that its calls have started; empty if there are none, or the
// server has none to tell of.
std::string children_of(Session& session, const json& run) {
  if (number_of(run, "calls") == 0) return "";
  const auto sent = session.client().send({.path = "/runs?parent=" + text_of(run, "id") +
                                                   "&limit=" + std::to_string(kChildrenMax)});
  if (!sent || sent.value().status != 200) return "";
  const json body = parse_body(sent.value().body).value_or(json::object());
  std::map<std::string, std::int64_t> counts;
  for (const json& child : list_of(body, "runs")) ++counts[text_of(child, "status")];
  std::string out;
  for (const auto& [status, count] : counts) {
    out += (out.empty() ? "" : ", ") + grouped(count) + " " + status;
  }
  return has(body, "next_cursor") ? "of the newest: " + out : out;
}

std::string head_of(Session& session, const json& run) {
  const auto row = [&session](const char* name, const std::string& value) {
    std::string label = name;
    label.resize(10, ' ');
    return value.empty() ? "" : paint(session.out(), Colour::dim, label) + one_line(value) + "\n";
  };
  const std::string status = text_of(run, "status");
  std::string out = paint(session.out(), Colour::bold, "run " + text_of(run, "id")) + "  " +
                    paint(session.out(), status_colour(status), harmless(status)) + "\n";
  out += row("task", text_of(run, "task") + " version " + text_of(run, "version"));
  out += row("paused", text_of(run, "pause_reason"));
  out += row("created", show_time(text_of(run, "created_at")));
  out += row("started", show_time(text_of(run, "started_at")));
  std::string ended = show_time(text_of(run, "ended_at"));
  const std::string took = duration_of(run, "created_at", "ended_at");
  if (!took.empty()) ended += " (" + took + ")";
  out += row("ended", ended);
  if (has(run, "state")) {
    const json& state = run["state"];
    if (has(state, "progress")) out += row("progress", show_progress(state["progress"], 20));
  }
  out += row("calls", grouped(number_of(run, "calls")));
  out += row("logs", grouped(number_of(run, "logs")));
  std::string parent;
  if (has(run, "parent_run_id")) parent = "run " + text_of(run, "parent_run_id");
  if (has(run, "parent_seq")) parent += ", call " + text_of(run, "parent_seq");
  out += row("parent", parent);
  out += row("children", children_of(session, run));
  out += row("waits for",
             has(run, "waiting_on_stack_run_id")
                 ? "stack run " + text_of(run, "waiting_on_stack_run_id")
             : text_of(run, "waiting_for") == "queue"
                 ? "its queue (sequential-runner queues show " + text_of(run, "task") + ")"
                 : "");
  out += row("queue key", text_of(run, "queue_key"));
  if (is_true(run, "cancelling")) {
    out += row("ends by", show_time(text_of(run, "cancel_at")) + ", because it was asked to");
  }
  return out;
}

std::string micros(const json& call, const char* key) {
  if (!has(call, key)) return "";
  const std::int64_t us = number_of(call, key);
  return us < 10'000 ? grouped(us) + " µs" : show_duration_ms(us / 1'000);
}

// The last calls of a run as a table, or "" if there are none or the server has none to give.
std::string calls_table(Session& session, std::int64_t id, std::int64_t count, int shown) {
  if (count <= 0 || shown <= 0) return "";
  json calls = json::array();
  for (std::int64_t from = std::max<std::int64_t>(count - shown + 1, 1); from > 0;) {
    const std::int64_t left = shown - static_cast<std::int64_t>(calls.size());
    if (left <= 0) break;
    const auto sent = session.client().send({.path = "/runs/" + std::to_string(id) +
                                                     "/stack?from=" + std::to_string(from) +
                                                     "&limit=" + std::to_string(left)});
    if (!sent || sent.value().status != 200) break;
    const json body = parse_body(sent.value().body).value_or(json::object());
    for (const json& call : list_of(body, "stack")) calls.push_back(call);
    from = has(body, "next_from") ? number_of(body, "next_from") : 0;
  }
  if (calls.empty()) return "";
  Table table({"SEQ", "CALL", "STATUS", "TRY", "VIA", "HOP", "RESUME", "LINE"}, {0, 3, 5, 7});
  for (const json& call : calls) {
    const std::string status = text_of(call, "status");
    const std::string service = text_of(call, "service");
    std::string resume = text_of(call, "resume_kind");
    if (const std::string took = micros(call, "resume_us"); !took.empty()) resume += " " + took;
    table.add({text_of(call, "seq"),
               service.empty() ? "(the task's code)"
                               : harmless(service + "." + text_of(call, "method")),
               paint(session.out(), status_colour(status), harmless(status)),
               text_of(call, "attempt"), harmless(text_of(call, "via")), micros(call, "hop_us"),
               harmless(resume), has(call, "source_line") ? text_of(call, "source_line") : ""});
  }
  return "\n" + table.text(session.out());
}

// Log entries as they come: lines for people. With --json one document, whatever the pages;
// when following, one entry a line (JSON Lines), because there is no end to wait for.
class LogPrinter {
 public:
  LogPrinter(const Session& session, bool follow) : session_(session), follow_(follow) {}

  void page(std::string_view body, const json& entries) {
    if (session_.json() && !follow_) {
      part_of_document(json_member(body, "logs"), entries.empty());
      return;
    }
    for (const json& entry : entries) {
      const std::string line =
          session_.json() ? entry.dump(-1, ' ', false, json::error_handler_t::replace)
                          : log_line(session_.out(), text_of(entry, "at"), text_of(entry, "level"),
                                     text_of(entry, "message"));
      session_.print(line + "\n");
    }
  }

  // `name`: call, or outcome.
  void call(const std::string& name, const json& body) {
    if (session_.json()) {
      json line{{"event", name}};
      line.update(body);
      session_.print(line.dump(-1, ' ', false, json::error_handler_t::replace) + "\n");
      return;
    }
    const bool begun = name == "call";
    std::string text = "#" + text_of(body, "seq") + " " + text_of(body, "service") + "." +
                       text_of(body, "method") + " " +
                       (begun ? "called" : text_of(body, "status"));
    if (number_of(body, "attempts") > 1) text += ", try " + text_of(body, "attempts");
    session_.print(log_line(session_.out(), text_of(body, begun ? "at" : "ended_at"), name, text) +
                   "\n");
  }

  void end(std::int64_t after) {
    if (!session_.json() || follow_) return;
    session_.print("],\"next_after\":" + std::to_string(after) + "}\n");
  }

 private:
  // `list` is the page's array, as the server wrote it.
  void part_of_document(std::string_view list, bool empty) {
    if (!begun_) session_.print("{\"logs\":[");
    begun_ = true;
    if (empty || list.size() < 2) return;
    if (some_) session_.print(",");
    some_ = true;
    session_.print(list.substr(1, list.size() - 2));
  }

  const Session& session_;
  const bool follow_;
  bool begun_ = false, some_ = false;
};

// Prints entries as they are stored, and notes how far it came and whether the run is settled.
EventReader::End follow_logs(EventReader& events, LogPrinter& print, std::int64_t& after,
                             bool& ended) {
  EventReader::Callbacks callbacks;
  callbacks.event = [&](const std::string& name, const std::string& data) {
    const json body = parse_body(data).value_or(json::object());
    if (name == "log") {
      print.page(data, json::array({body}));
      after = std::max(after, number_of(body, "n"));
    }
    if (name == "call" || name == "outcome") print.call(name, body);
    if (name == "end" || (name == "run" && is_settled(text_of(body, "status")))) ended = true;
    return !ended && !Interrupt::requested();
  };
  callbacks.tick = [] { return !Interrupt::requested(); };
  return events.read(callbacks);
}

}  // namespace

int runs_show(Session& session, const RunsShowOptions& options) {
  const Session::Answer answer = session.ask({.path = "/runs/" + std::to_string(options.id)});
  if (!answer) return answer.exit;  // before waiting: nobody there, or no such run
  if (options.wait) {
    const Interrupt interrupt;
    const Followed end =
        follow_run(session, options.id, std::chrono::seconds(options.timeout_s), interrupt);
    return end.exit == kExitOk ? print_end(session, end.body) : end.exit;
  }
  const std::string& body = answer.response.body;
  if (session.json()) {
    session.print_json(body);
    return kExitOk;
  }
  const json run = parse_body(body).value_or(json::object());
  session.print(head_of(session, run) +
                payload(session, "status", json_member(json_member(body, "state"), "status")) +
                payload(session, "pause_detail", json_member(body, "pause_detail")) +
                payload(session, "input", json_member(body, "input")) +
                payload(session, "result", json_member(body, "result")) +
                payload(session, "error", json_member(body, "error")) +
                calls_table(session, options.id, number_of(run, "calls"), options.calls));
  if (text_of(run, "status") == "paused") {
    session.note(paint(session.err(), Colour::dim, harmless(after_pause(run))));
  }
  return kExitOk;
}

int logs(Session& session, const LogsOptions& options) {
  const Interrupt interrupt;
  LogPrinter print(session, options.follow);
  const std::string path = "/runs/" + std::to_string(options.id);
  std::int64_t after = 0;
  bool ended = !options.follow;
  EventReader events(session, options.id, options.calls);
  bool streams = options.follow;
  for (;;) {
    const Session::Answer answer =
        session.ask({.path = path + "/logs?limit=" + std::to_string(kLogsPage) +
                             "&after=" + std::to_string(after)});
    if (!answer) return answer.exit;
    const json page = parse_body(answer.response.body).value_or(json::object());
    const json& entries = list_of(page, "logs");
    const std::int64_t before = after;
    print.page(answer.response.body, entries);
    for (const json& entry : entries) after = std::max(after, number_of(entry, "n"));
    if (after > before) continue;  // there may be another page
    if (ended) {
      print.end(after);
      return kExitOk;
    }
    if (streams) {
      events.after(after);
      streams = follow_logs(events, print, after, ended) == EventReader::End::over;
      if (Interrupt::requested()) return kExitStillRunning;
      if (streams) continue;
    }
    // Nothing new: wait a little for the run's end, then look once more.
    const Session::Answer run = session.ask(
        {.path = path + "?wait=" + std::to_string(kFollowWaitSeconds),
         .timeout = kRequestTimeout + std::chrono::seconds(kFollowWaitSeconds)});
    if (!run) return run.exit;
    const json record = parse_body(run.response.body).value_or(json::object());
    ended = is_settled(text_of(record, "status"));
    if (Interrupt::requested()) return kExitStillRunning;
  }
}

int tasks_list(Session& session) {
  const Session::Answer answer = session.ask({.path = "/tasks"});
  if (!answer) return answer.exit;
  if (session.json()) {
    session.print_json(answer.response.body);
    return kExitOk;
  }
  const json body = parse_body(answer.response.body).value_or(json::object());
  const json& tasks = list_of(body, "tasks");
  if (tasks.empty()) {
    session.note("no tasks; publish one with: sequential-runner publish FILE.js");
    return kExitOk;
  }
  Table table({"TASK", "VERSION", "PUBLISHED (UTC)", "DESCRIPTION"}, {1});
  for (const json& task : tasks) {
    table.add({harmless(text_of(task, "name")), text_of(task, "version"),
               show_time(text_of(task, "created_at")),
               harmless(fit(text_of(task, "description"), 60))});
  }
  session.print(table.text(session.out()));
  return kExitOk;
}

int tasks_show(Session& session, const std::string& name) {
  const Session::Answer answer = session.ask({.path = "/tasks/" + percent_encode(name)});
  if (!answer) return answer.exit;
  if (session.json()) {
    session.print_json(answer.response.body);
    return kExitOk;
  }
  const json task = parse_body(answer.response.body).value_or(json::object());
  session.note(paint(session.err(), Colour::bold,
                     harmless(text_of(task, "name")) + " version " + text_of(task, "version")));
  std::string code = text_of(task, "code");
  if (!code.ends_with('\n')) code += "\n";
  session.print(session.out().is_terminal ? harmless(code) : code);
  return kExitOk;
}

}  // namespace sequential::cli
