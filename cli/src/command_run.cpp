#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "commands.h"
#include "follow.h"
#include "input.h"
#include "interrupt.h"
#include "json_body.h"
#include "sequential/base/json_text.h"

namespace sequential::cli {
namespace {

// JSON, @file, or - for standard input.
Result<std::string> read_input(const Session& session, const std::string& given,
                               const std::string& option = "--input") {
  std::string text = given;
  std::string name = option;
  if (given == "-") {
    name = "standard input";
    SEQUENTIAL_TRY(text, read_all(session.main().in, name, kInputBytesMax));
  } else if (given.starts_with('@')) {
    name = given.substr(1);
    SEQUENTIAL_TRY(text, read_file(name, kInputBytesMax));
  }
  if (text.empty() && given.empty()) return text;
  if (const auto checked = check_json(text); !checked) {
    return Error(Errc::config_invalid, name + ": " + checked.error().message +
                                           " Give JSON, such as " + option +
                                           " '{\"user\":\"ada\"}'.");
  }
  return text;
}

std::string body_of(const RunOptions& options, const std::string& input) {
  JsonObject settings;
  if (!options.idempotency_key.empty()) {
    settings.string("idempotency_key", options.idempotency_key);
  }
  if (options.version > 0) settings.number("version", options.version);
  if (options.priority) settings.number("priority", *options.priority);
  if (options.delay_ms) settings.number("delay_ms", *options.delay_ms);
  if (!options.queue_key.empty()) settings.string("queue_key", options.queue_key);
  JsonObject body;
  body.string("task", options.task);
  if (!input.empty()) body.raw("input", input);
  const std::string settings_text = std::move(settings).text();
  if (settings_text != "{}") body.raw("options", settings_text);
  return std::move(body).text();
}

}  // namespace

int run_task(Session& session, const RunOptions& options) {
  const auto input = read_input(session, options.input);
  if (!input) return session.report(input.error());
  Request request{.method = "POST",
                  .path = "/tasks/execute",
                  .headers = {{"Content-Type", "application/json"}},
                  .body = body_of(options, input.value())};
  // Ctrl-C ends the wait and never the run, so the run's id has to be known by then.
  std::optional<Interrupt> interrupt;
  if (options.wait) {
    interrupt.emplace();
    request.interruptible = false;
  }
  const Session::Answer answer = session.ask(request);
  if (!answer) return answer.exit;
  const auto body = parse_body(answer.response.body).value_or(nlohmann::json::object());
  const auto data = has(body, "data") ? body["data"] : nlohmann::json::object();
  const std::int64_t id = number_of(data, "taskRunId");
  if (!options.wait) {
    if (session.json()) {
      session.print_json(answer.response.body);
      return kExitOk;
    }
    session.print("run " + std::to_string(id) + " " + harmless(text_of(data, "status")) + "\n");
    session.note(paint(session.err(), Colour::dim,
                       "follow it: sequential-runner runs show " + std::to_string(id) +
                           " --wait"));
    return kExitOk;
  }
  const Followed end =
      follow_run(session, id, std::chrono::seconds(options.timeout_s), *interrupt);
  return end.exit == kExitOk ? print_end(session, end.body) : end.exit;
}

int send_signal(Session& session, const SignalOptions& options) {
  const auto data = read_input(session, options.data, "--data");
  if (!data) return session.report(data.error());
  Request request{
      .method = "POST",
      .path = "/runs/" + std::to_string(options.run) + "/signals/" + percent_encode(options.name),
      .headers = {{"Content-Type", "application/json"}},
      .body = data.value().empty() ? "null" : data.value()};
  if (!options.idempotency_key.empty()) {
    request.headers.emplace_back("Idempotency-Key", options.idempotency_key);
  }
  const Session::Answer answer = session.ask(request);
  if (!answer) return answer.exit;
  if (session.json()) {
    session.print_json(answer.response.body);
    return kExitOk;
  }
  const auto body = parse_body(answer.response.body).value_or(nlohmann::json::object());
  session.print(text_of(body, "delivered") == "true" ? "delivered to the run\n"
                                                     : "kept until the run waits for it\n");
  return kExitOk;
}

}  // namespace sequential::cli
