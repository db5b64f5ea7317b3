#include <nlohmann/json.hpp>
#include <string>

#include "commands.h"
#include "json_body.h"
#include "sequential/base/json_text.h"

namespace sequential::cli {

int runs_cancel(Session& session, const RunsCancelOptions& options) {
  JsonObject wish;
  if (options.grace_ms) wish.number("grace_ms", *options.grace_ms);
  if (options.force) wish.raw("force", "true");
  if (!options.reason.empty()) wish.string("reason", options.reason);
  const Session::Answer answer =
      session.ask({.method = "POST",
                   .path = "/runs/" + std::to_string(options.id) + "/cancel",
                   .headers = {{"content-type", "application/json"}},
                   .body = std::move(wish).text()});
  if (!answer) return answer.exit;
  if (session.json()) {
    session.print_json(answer.response.body);
    return kExitOk;
  }
  const auto run = parse_body(answer.response.body).value_or(nlohmann::json::object());
  const std::string id = "run " + std::to_string(options.id);
  if (has(run, "cancel_at")) {
    session.print(id + " is asked to end, and is cancelled at " +
                  show_time(text_of(run, "cancel_at")) + " (UTC) if it has not by then\n");
  } else {
    session.print(id + " is " + harmless(text_of(run, "status")) + "\n");
  }
  return kExitOk;
}

}  // namespace sequential::cli
