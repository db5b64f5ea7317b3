// Commands that change runs: one by its number, or many by a filter; and looks at replays.

#include <algorithm>
#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "commands.h"
#include "input.h"
#include "interrupt.h"
#include "json_body.h"
#include "sequential/base/json_text.h"

namespace sequential::cli {
namespace {

using nlohmann::json;

constexpr std::size_t kFailuresShown = 10;
constexpr int kBarColumns = 30;
constexpr std::int64_t kBulkLimitMax = 10'000;  // of one request
constexpr Millis kReplayTimeout{300'000};       // the server's own limit comes first

const std::vector<std::pair<std::string, std::string>> kJsonHeaders{
    {"Content-Type", "application/json"}};

std::string call_lines(const Session& session, const json& difference, const char* key,
                       Colour colour, const char* sign) {
  const auto call = difference.find(key);
  if (call == difference.end() || !call->is_object()) {
    return paint(session.out(), colour, std::string(sign) + " " + key + ": no such call") + "\n";
  }
  std::string args = text_of(*call, "args");
  const json parsed = json::parse(args, nullptr, false);
  if (!parsed.is_discarded()) args = parsed.dump(2);
  const std::string head = std::string(key) + ": " + text_of(*call, "service") + "." +
                           text_of(*call, "method");
  std::string text = head + "\n" + args;
  std::string out;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    out += paint(session.out(), colour,
                 std::string(sign) + " " + harmless(text.substr(at, end - at))) + "\n";
    at = end + 1;
  }
  return out;
}

// What is recorded, then what the replay did.
std::string difference_text(const Session& session, const json& difference) {
  return "call " + text_of(difference, "seq") + " differs:\n" +
         call_lines(session, difference, "recorded", Colour::red, "-") +
         call_lines(session, difference, "replayed", Colour::green, "+");
}

int show_run_line(Session& session, const Response& response) {
  if (session.json()) {
    session.print_json(response.body);
    return kExitOk;
  }
  const json run = parse_body(response.body).value_or(json::object());
  const std::string status = text_of(run, "status");
  session.print("run " + text_of(run, "id") + "  " + harmless(text_of(run, "task")) + " version " +
                text_of(run, "version") + "  " +
                paint(session.out(), status_colour(status), harmless(status)) + "\n");
  return kExitOk;
}

// As Session::ask, and the difference is shown if that is what is wrong.
int change(Session& session, const std::string& path, const std::string& body) {
  const Request request{.method = "POST",
                        .path = path,
                        .headers = kJsonHeaders,
                        .body = body,
                        .timeout = kReplayTimeout};
  const auto sent = session.client().send(request);
  if (!sent) return session.report(sent.error());
  const Response& response = sent.value();
  if (response.status < 300) return show_run_line(session, response);
  const json problem = parse_body(response.body).value_or(json::object());
  if (problem.contains("difference") && !session.json()) {
    session.note(difference_text(session, problem["difference"]));
  }
  return session.report(problem_of(response));
}

json bulk_body(const RunsChangeOptions& options, bool dry_run) {
  json filter = json::object();
  for (const auto& [name, value] : options.filter) filter[name].push_back(value);
  json body{{"action", options.action}, {"filter", filter}, {"dry_run", dry_run}};
  if (options.version > 0) body["version"] = options.version;
  return body;
}

struct Totals {
  std::int64_t matched = 0, done = 0, failures = 0;
  json failed = json::array();
};

class Bar {
 public:
  Bar(const Session& session, std::int64_t all) : session_(session), all_(all) {}
  ~Bar() {
    if (shown_) std::fputs("\n", session_.main().err);
  }
  Bar(const Bar&) = delete;
  Bar& operator=(const Bar&) = delete;
  void show(std::int64_t now) {
    if (!session_.err().is_terminal || all_ <= 0) return;
    const auto filled = static_cast<std::size_t>(std::min(now, all_) * kBarColumns / all_);
    const std::string bar =
        std::string(filled, '#') + std::string(kBarColumns - filled, '.');
    std::fprintf(session_.main().err, "\r[%s] %s of %s", bar.c_str(), grouped(now).c_str(),
                 grouped(all_).c_str());
    std::fflush(session_.main().err);
    shown_ = true;
  }

 private:
  const Session& session_;
  const std::int64_t all_;
  bool shown_ = false;
};

// All pages; Ctrl-C ends it between two. Answers an exit code.
int go_through(Session& session, json body, std::int64_t limit, std::int64_t all, Totals& totals) {
  const Interrupt interrupt;
  Bar bar(session, all);
  for (;;) {
    if (limit > 0) body["limit"] = std::min(kBulkLimitMax, limit - totals.matched);
    const Session::Answer answer = session.ask({.method = "POST",
                                                .path = "/runs/bulk",
                                                .headers = kJsonHeaders,
                                                .body = body.dump(),
                                                .timeout = kReplayTimeout});
    if (!answer) return answer.exit;
    const json page = parse_body(answer.response.body).value_or(json::object());
    totals.matched += number_of(page, "matched");
    totals.done += number_of(page, "done");
    totals.failures += number_of(page, "failures");
    if (page.contains("failed") && page["failed"].is_array()) {
      for (const json& one : page["failed"]) {
        if (totals.failed.size() < kFailuresShown) totals.failed.push_back(one);
      }
    }
    bar.show(totals.matched);
    if (!has(page, "next") || (limit > 0 && totals.matched >= limit)) return kExitOk;
    if (Interrupt::requested()) return kExitStillRunning;
    body["next"] = text_of(page, "next");
  }
}

bool agreed(Session& session, const std::string& action, std::int64_t matched) {
  session.note("This will " + action + " " + grouped(matched) + " runs at " +
               harmless(session.client().server()) + ". Type \"yes\" to go on:");
  char line[64] = "";
  return std::fgets(line, sizeof line, session.main().in) != nullptr &&
         without_final_newline(line) == "yes";
}

std::string done_word(const std::string& action) {
  if (action == "cancel") return "asked to end:";
  if (action == "retry") return "retried";
  return action + "d";  // paused, resumed
}

int print_totals(Session& session, const RunsChangeOptions& options, const Totals& totals) {
  if (session.json()) {
    session.print_json(json{{"matched", totals.matched},
                            {"done", totals.done},
                            {"failures", totals.failures},
                            {"failed", totals.failed}}
                           .dump());
  } else if (options.dry_run) {
    session.print(grouped(totals.matched) + " runs match\n");
  } else {
    session.print(done_word(options.action) + " " + grouped(totals.done) + " of " +
                  grouped(totals.matched) + " runs\n");
    for (const json& one : totals.failed) {
      session.note("run " + text_of(one, "id") + ": " + harmless(text_of(one, "message")));
    }
  }
  return totals.failures > 0 ? kExitRunFailed : kExitOk;
}

int change_many(Session& session, const RunsChangeOptions& options) {
  if (options.filter.empty() && !options.all) {
    return session.usage("give the number of a run, a filter such as --task NAME, or --all");
  }
  Totals counted;
  const int looked =
      go_through(session, bulk_body(options, true), options.limit, 0, counted);
  if (looked != kExitOk) return looked;
  if (options.dry_run || counted.matched == 0) return print_totals(session, options, counted);
  if (!options.yes) {
    if (!terminal_of(session.main().in).is_terminal) {
      return session.usage(grouped(counted.matched) +
                           " runs match: give --yes to go on without being asked");
    }
    if (!agreed(session, options.action, counted.matched)) {
      session.note("Nothing was changed.");
      return kExitUsage;
    }
  }
  Totals totals;
  const int made = go_through(session, bulk_body(options, false), options.limit, counted.matched,
                              totals);
  const int told = print_totals(session, options, totals);
  return made == kExitOk ? told : made;
}

}  // namespace

int runs_replay(Session& session, const RunsReplayOptions& options) {
  std::string path = "/runs/" + std::to_string(options.id) + "/replay";
  if (options.version > 0) path += "?version=" + std::to_string(options.version);
  const Session::Answer answer = session.ask({.path = path, .timeout = kReplayTimeout});
  if (!answer) return answer.exit;
  const json body = parse_body(answer.response.body).value_or(json::object());
  const bool same = is_true(body, "same");
  if (session.json()) {
    session.print_json(answer.response.body);
    return same ? kExitOk : kExitRunFailed;
  }
  std::string out = "run " + text_of(body, "id") + " began on version " +
                    text_of(body, "run_version") + "; replayed on version " +
                    text_of(body, "version") + " in " +
                    show_duration_ms(number_of(body, "took_ms")) + "\n";
  if (!same) {
    session.print(out + difference_text(session, object_of(body, "difference")));
    return kExitRunFailed;
  }
  out += paint(session.out(), Colour::green,
               "the same: " + grouped(number_of(body, "calls")) + " calls, " +
                   grouped(number_of(body, "outcomes")) + " outcomes") + "\n";
  if (body.contains("next") && body["next"].is_array()) {
    for (const json& call : body["next"]) {
      out += "next: call " + text_of(call, "seq") + "  " +
             harmless(text_of(call, "service") + "." + text_of(call, "method")) + "\n";
    }
  }
  if (text_of(body, "ends") != "suspended") out += "it then ends: " + text_of(body, "ends") + "\n";
  session.print(out);
  return kExitOk;
}

int runs_change(Session& session, const RunsChangeOptions& options) {
  if (options.id == 0) return change_many(session, options);
  json body = json::object();
  if (options.version > 0) body["version"] = options.version;
  if (options.call > 0) body["call"] = options.call;
  if (options.unknown_again) body["unknown_again"] = true;
  return change(session, "/runs/" + std::to_string(options.id) + "/" + options.action,
                body.empty() ? "" : body.dump());
}

int runs_fork(Session& session, const RunsForkOptions& options) {
  JsonObject body;
  if (options.call > 0) body.number("at", options.call);
  if (options.position) {
    body.raw("at", "{\"position\":" + std::to_string(*options.position) + "}");
  }
  for (const auto& [name, text] :
       {std::pair{"input", options.input}, std::pair{"result", options.result},
        std::pair{"error", options.error}}) {
    if (!text) continue;
    std::string value = *text;
    if (value == "-" || value.starts_with('@')) {
      auto read = value == "-" ? read_all(session.main().in, "standard input", kInputBytesMax)
                               : read_file(value.substr(1), kInputBytesMax);
      if (!read) return session.report(read.error());
      value = std::move(read).value();
    }
    if (const auto checked = check_json(value, DuplicateKeys::refuse); checked.has_error()) {
      return session.usage(std::string("--") + name + " is not JSON: " + checked.error().message);
    }
    if (std::string_view(name) == "input") {
      body.raw("input", value);
    } else {
      body.raw("outcome", std::string("{\"") + name + "\":" + value + "}");
    }
  }
  if (options.version > 0) body.number("version", options.version);
  return change(session, "/runs/" + std::to_string(options.id) + "/fork", std::move(body).text());
}

}  // namespace sequential::cli
