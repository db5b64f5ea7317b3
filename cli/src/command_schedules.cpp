// schedules: runs that begin by the clock.

#include <array>
#include <charconv>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

#include "commands.h"
#include "input.h"
#include "json_body.h"
#include "pages.h"
#include "sequential/base/json_text.h"

namespace sequential::cli {
namespace {

using nlohmann::json;

std::string path_of(const std::string& name, const std::string& what = "") {
  return "/schedules/" + percent_encode(name) + (what.empty() ? "" : "/" + what);
}

Session::Answer post(Session& session, const std::string& path, std::string body) {
  return session.ask({.method = "POST",
                      .path = path,
                      .headers = {{"Content-Type", "application/json"}},
                      .body = std::move(body)});
}

// "90s", "1500ms", "2h" as milliseconds.
std::optional<std::int64_t> length_ms(const std::string& text) {
  std::int64_t count = 0;
  const char* const end = text.data() + text.size();
  const auto [unit, error] = std::from_chars(text.data(), end, count);
  if (error != std::errc{} || count < 0 || count > 1'000'000'000) return std::nullopt;
  const std::string_view name(unit, static_cast<std::size_t>(end - unit));
  constexpr std::array<std::pair<std::string_view, std::int64_t>, 5> kUnits{
      {{"ms", 1}, {"s", 1'000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}}};
  for (const auto& [known, ms] : kUnits) {
    if (name == known) return count * ms;
  }
  return std::nullopt;
}

const json& spec_of(const json& schedule) {
  static const json kNone = json::object();
  return has(schedule, "spec") && schedule["spec"].is_object() ? schedule["spec"] : kNone;
}

std::string time_or_dash(const json& object, const char* key) {
  const std::string text = text_of(object, key);
  return text.empty() ? "-" : show_time(text);
}

void print_schedule(Session& session, const json& s) {
  const json& spec = spec_of(s);
  const auto line = [&session](std::string label, const std::string& text) {
    label.resize(14, ' ');
    session.print(label + one_line(text) + "\n");
  };
  line("schedule", text_of(s, "name") + " (" + text_of(s, "state") + ")");
  line("task", text_of(spec, "task"));
  line("cron", text_of(spec, "cron") + "  " + text_of(spec, "time_zone"));
  line("overlap", text_of(spec, "overlap") + ", catch up " + text_of(spec, "catch_up"));
  if (number_of(spec, "jitter_ms") > 0) {
    line("jitter", "up to " + show_duration_ms(number_of(spec, "jitter_ms")));
  }
  if (has(spec, "queue_key")) line("queue key", text_of(spec, "queue_key"));
  if (has(spec, "input")) line("input", fit(spec["input"].dump(), 100));
  const std::int64_t last = number_of(s, "last_run_id");
  line("last run",
       last > 0 ? std::to_string(last) + ", started " + time_or_dash(s, "last_started_at") + " UTC"
                : "none yet");
  line("so far", grouped(number_of(s, "started")) + " started, " +
                     grouped(number_of(s, "skipped")) + " skipped, " +
                     grouped(number_of(s, "missed")) + " missed");
  if (!has(s, "next_ticks") || !s["next_ticks"].is_array()) return;
  std::string label = "next (UTC)";
  for (const json& tick : s["next_ticks"]) {
    if (tick.is_string()) line(std::exchange(label, ""), show_time(tick.get<std::string>()));
  }
}

int print_answer(Session& session, const Session::Answer& answer) {
  if (!answer) return answer.exit;
  if (session.json()) {
    session.print_json(answer.response.body);
  } else {
    print_schedule(session, parse_body(answer.response.body).value_or(json::object()));
  }
  return kExitOk;
}

}  // namespace

int schedules_list(Session& session) {
  json schedules;
  const int read = all_pages(session, "/schedules", "schedules", schedules);
  if (read != kExitOk || session.json()) return read;
  if (schedules.empty()) {
    session.note("no schedules");
    return kExitOk;
  }
  Table table({"NAME", "STATE", "TASK", "CRON", "TIME ZONE", "NEXT (UTC)", "STARTED"}, {6});
  for (const json& s : schedules) {
    const json& spec = spec_of(s);
    table.add({harmless(text_of(s, "name")), harmless(text_of(s, "state")),
               harmless(text_of(spec, "task")), harmless(text_of(spec, "cron")),
               harmless(text_of(spec, "time_zone")), time_or_dash(s, "next_tick"),
               grouped(number_of(s, "started"))});
  }
  session.print(table.text(session.out()));
  return kExitOk;
}

int schedules_set(Session& session, const ScheduleSetOptions& options) {
  JsonObject body;
  body.string("task", options.task).string("cron", options.cron);
  body.string("time_zone", options.time_zone).string("overlap", options.overlap);
  body.string("catch_up", options.catch_up);
  for (const auto& [flag, field, text] :
       {std::tuple("--jitter", "jitter_ms", &options.jitter),
        std::tuple("--catch-up-window", "catch_up_window_ms", &options.catch_up_window)}) {
    if (text->empty()) continue;
    const auto ms = length_ms(*text);
    if (!ms) {
      return session.usage(std::string(flag) + " takes a length such as 500ms, 30s, 5m, 2h or 1d");
    }
    body.number(field, *ms);
  }
  if (!options.input.empty()) {
    std::string input = options.input;
    if (input.front() == '@') {
      auto read = read_file(input.substr(1), kInputBytesMax);
      if (!read) return session.report(read.error());
      input = std::move(read).value();
    } else if (input == "-") {
      auto read = read_all(session.main().in, "standard input", kInputBytesMax);
      if (!read) return session.report(read.error());
      input = std::move(read).value();
    }
    const auto valid = check_json(input);
    if (!valid) return session.usage("--input is not JSON: " + valid.error().message);
    body.raw("input", input);
  }
  if (options.input_with_tick) body.boolean("input_with_tick", true);
  if (options.version > 0) body.number("version", options.version);
  if (options.priority) body.number("priority", *options.priority);
  if (!options.queue_key.empty()) body.string("queue_key", options.queue_key);
  if (!options.description.empty()) body.string("description", options.description);
  if (options.paused) body.boolean("paused", true);
  return print_answer(session, session.ask({.method = "PUT",
                                            .path = path_of(options.name),
                                            .headers = {{"Content-Type", "application/json"}},
                                            .body = std::move(body).text()}));
}

int schedules_show(Session& session, const std::string& name) {
  return print_answer(session, session.ask({.path = path_of(name)}));
}

int schedules_pause(Session& session, const std::string& name, bool pause) {
  return print_answer(session, post(session, path_of(name, pause ? "pause" : "resume"), "{}"));
}

int schedules_delete(Session& session, const std::string& name) {
  const Session::Answer answer = session.ask({.method = "DELETE", .path = path_of(name)});
  if (!answer) return answer.exit;
  if (session.json()) {
    session.print_json("{}");
  } else {
    session.print("deleted " + harmless(name) + "; its runs stay\n");
  }
  return kExitOk;
}

int schedules_trigger(Session& session, const std::string& name, bool beside) {
  const Session::Answer answer =
      post(session, path_of(name, "trigger"), beside ? R"({"overlap":"allow"})" : "{}");
  if (!answer) return answer.exit;
  if (session.json()) {
    session.print_json(answer.response.body);
    return kExitOk;
  }
  const json body = parse_body(answer.response.body).value_or(json::object());
  const json data = has(body, "data") ? body["data"] : json::object();
  session.print("started run " + std::to_string(number_of(data, "taskRunId")) + "\n");
  return kExitOk;
}

int schedules_backfill(Session& session, const std::string& name, const std::string& from,
                       const std::string& to) {
  JsonObject request;
  request.string("from", from).string("to", to);
  const Session::Answer answer =
      post(session, path_of(name, "backfill"), std::move(request).text());
  if (!answer) return answer.exit;
  if (session.json()) {
    session.print_json(answer.response.body);
    return kExitOk;
  }
  const json body = parse_body(answer.response.body).value_or(json::object());
  session.print("started " + grouped(number_of(body, "started")) + " runs; " +
                grouped(number_of(body, "existing")) + " were there already\n");
  return kExitOk;
}

}  // namespace sequential::cli
