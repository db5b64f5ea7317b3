#include <charconv>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "commands.h"
#include "json_body.h"
#include "pages.h"
#include "sequential/base/json_text.h"

namespace sequential::cli {
namespace {

using nlohmann::json;

constexpr int kKeysShown = 20;

std::string path_of(const std::string& task) { return "/queues/" + percent_encode(task); }

std::optional<std::int64_t> whole(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// "10/1s", "3/500ms", "5/1h", "50/1d", or none, as the server takes it; empty: it is not one.
std::string rate_json(std::string_view text) {
  if (text == "none") return "null";
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) return "";
  std::string_view per = text.substr(slash + 1);
  const auto digits = per.find_first_not_of("0123456789");
  if (digits == std::string_view::npos) return "";
  const std::string_view unit = per.substr(digits);
  const std::int64_t factor = unit == "ms"  ? 1
                              : unit == "s" ? 1'000
                              : unit == "m" ? 60'000
                              : unit == "h" ? 3'600'000
                              : unit == "d" ? 86'400'000
                                            : 0;
  const auto starts = whole(text.substr(0, slash));
  const auto count = whole(per.substr(0, digits));
  if (factor == 0 || !starts || !count || *count > INT64_MAX / factor) return "";
  return std::move(JsonObject().number("starts", *starts).number("per_ms", *count * factor)).text();
}

std::string show_rate(const json& limits, const char* key) {
  if (!has(limits, key)) return "-";
  const json& rate = limits[key];
  const std::int64_t ms = number_of(rate, "per_ms");
  const std::string per = ms % 86'400'000 == 0  ? std::to_string(ms / 86'400'000) + "d"
                          : ms % 3'600'000 == 0 ? std::to_string(ms / 3'600'000) + "h"
                          : ms % 60'000 == 0    ? std::to_string(ms / 60'000) + "m"
                          : ms % 1'000 == 0     ? std::to_string(ms / 1'000) + "s"
                                                : std::to_string(ms) + "ms";
  return std::to_string(number_of(rate, "starts")) + "/" + per;
}

std::string show_count(const json& limits, const char* key) {
  return has(limits, key) ? grouped(number_of(limits, key)) : "-";
}

std::string show_wait(const json& queue) {
  return has(queue, "oldest_wait_ms") ? show_duration_ms(number_of(queue, "oldest_wait_ms")) : "";
}

const json& member(const json& body, const char* key) {
  static const json empty = json::object();
  return has(body, key) ? body[key] : empty;
}

void print_queue(Session& session, const json& queue) {
  const json& limits = member(queue, "limits");
  const auto row = [](std::string label, const std::string& value) {
    label.resize(17, ' ');
    return label + value + "\n";
  };
  session.print(
      row("task", harmless(text_of(queue, "task"))) +
      row("concurrency", show_count(limits, "concurrency")) +
      row("key concurrency", show_count(limits, "key_concurrency")) +
      row("rate", show_rate(limits, "rate")) + row("key rate", show_rate(limits, "key_rate")) +
      row("running", grouped(number_of(queue, "running"))) +
      row("waiting", grouped(number_of(queue, "waiting"))) + row("oldest wait", show_wait(queue)));
}

int print_answer(Session& session, const Session::Answer& answer) {
  if (!answer) return answer.exit;
  if (session.json()) {
    session.print_json(answer.response.body);
  } else {
    print_queue(session, parse_body(answer.response.body).value_or(json::object()));
  }
  return kExitOk;
}

}  // namespace

int queues_list(Session& session) {
  json queues;
  const int read = all_pages(session, "/queues", "queues", queues);
  if (read != kExitOk || session.json()) return read;
  if (queues.empty()) {
    session.note("no queues: no task has limits, and no run a queue key");
    return kExitOk;
  }
  Table table(
      {"TASK", "CONCURRENCY", "PER KEY", "RATE", "KEY RATE", "RUNNING", "WAITING", "OLDEST WAIT"},
      {1, 2, 5, 6, 7});
  for (const json& queue : queues) {
    const json& limits = member(queue, "limits");
    table.add({harmless(text_of(queue, "task")), show_count(limits, "concurrency"),
               show_count(limits, "key_concurrency"), show_rate(limits, "rate"),
               show_rate(limits, "key_rate"), grouped(number_of(queue, "running")),
               grouped(number_of(queue, "waiting")), show_wait(queue)});
  }
  session.print(table.text(session.out()));
  return kExitOk;
}

int queues_show(Session& session, const std::string& task) {
  const Session::Answer answer = session.ask({.path = path_of(task)});
  const int shown = print_answer(session, answer);
  if (shown != kExitOk || session.json()) return shown;
  const Session::Answer found =
      session.ask({.path = path_of(task) + "/keys?limit=" + std::to_string(kKeysShown)});
  if (!found) return found.exit;
  const json body = parse_body(found.response.body).value_or(json::object());
  const json& keys = member(body, "keys");
  if (keys.empty()) return kExitOk;
  Table table({"KEY", "RUNNING", "WAITING"}, {1, 2});
  for (const json& key : keys) {
    table.add({has(key, "key") ? harmless(fit(text_of(key, "key"), 60)) : "(none)",
               grouped(number_of(key, "running")), grouped(number_of(key, "waiting"))});
  }
  session.print("\n" + table.text(session.out()));
  if (has(body, "next_cursor")) {
    session.note("there are more keys: GET " + path_of(task) + "/keys");
  }
  return kExitOk;
}

int queues_set(Session& session, const QueuesSetOptions& options) {
  JsonObject body;
  const auto count = [&body](const char* key, const std::string& text) {
    if (text.empty()) return true;
    const auto number = text == "none" ? std::optional<std::int64_t>(0) : whole(text);
    if (number) body.raw(key, text == "none" ? "null" : std::to_string(*number));
    return number.has_value();
  };
  const auto rate = [&body](const char* key, const std::string& text) {
    if (text.empty()) return true;
    const std::string value = rate_json(text);
    if (!value.empty()) body.raw(key, value);
    return !value.empty();
  };
  if (!count("concurrency", options.concurrency) ||
      !count("key_concurrency", options.key_concurrency)) {
    return session.usage("--concurrency and --key-concurrency take a whole number, or none");
  }
  if (!rate("rate", options.rate) || !rate("key_rate", options.key_rate)) {
    return session.usage("--rate and --key-rate take STARTS/TIME, such as 10/1s, 3/500ms, or none");
  }
  return print_answer(session, session.ask({.method = "PUT",
                                            .path = path_of(options.task),
                                            .headers = {{"Content-Type", "application/json"}},
                                            .body = std::move(body).text()}));
}

int queues_reset(Session& session, const std::string& task) {
  return print_answer(session, session.ask({.method = "DELETE", .path = path_of(task)}));
}

}  // namespace sequential::cli
