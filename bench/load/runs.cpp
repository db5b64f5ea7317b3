#include "runs.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "sequential/base/clock.h"

namespace sequential::bench {
namespace {

using Json = nlohmann::json;

constexpr int kStackPage = 1'000;

Error wrong(std::string what, const std::string& body) {
  constexpr std::size_t kShown = 400;
  return Error{Errc::response_invalid, std::move(what) + ": " + body.substr(0, kShown)};
}

// The member, or null where there is none.
const Json& member(const Json& object, const char* name) {
  static const Json none;
  const auto found = object.is_object() ? object.find(name) : object.end();
  return found == object.end() ? none : *found;
}

bool is_text(const Json& object, const char* name, std::string_view text) {
  const Json& value = member(object, name);
  return value.is_string() && value.get_ref<const std::string&>() == text;
}

bool is_number(const Json& object, const char* name, std::int64_t number) {
  const Json& value = member(object, name);
  return value.is_number_integer() && value.get<std::int64_t>() == number;
}

bool is_right(const Json& result, int calls) {
  const std::int64_t sum = static_cast<std::int64_t>(calls) * (calls + 1) / 2;
  return is_number(result, "calls", calls) && is_number(result, "sum", sum);
}

Result<void> check_call(const Json& row, std::int64_t seq) {
  const bool right = is_number(row, "seq", seq) && is_text(row, "status", "completed") &&
                     is_text(row, "service", "echo") && is_number(member(row, "result"), "i", seq);
  if (right) return success();
  return wrong("call " + std::to_string(seq) + " is not recorded as it should be", row.dump());
}

}  // namespace

std::string execute_request(const Endpoint& to, int calls, Wait wait) {
  std::string headers = "Content-Type: application/json\r\n";
  if (wait == Wait::for_result) headers += "Prefer: wait=300\r\n";
  return render_request(to, "POST", "/tasks/execute", headers,
                        R"({"task":"many-calls","input":{"calls":)" + std::to_string(calls) + "}}");
}

Result<void> check_completed(const HttpAnswer& answer, int calls) {
  const Json body = Json::parse(answer.body, nullptr, false);
  const Json& data = member(body, "data");
  if (answer.status == 200 && is_text(data, "status", "completed") &&
      is_right(member(data, "result"), calls)) {
    return success();
  }
  return wrong("a run of " + std::to_string(calls) + " calls did not give the right result, but " +
                   std::to_string(answer.status),
               answer.body);
}

Result<void> check_run(const Json& run, int calls) {
  if (is_text(run, "status", "completed") && is_right(member(run, "result"), calls)) {
    return success();
  }
  return wrong("the run did not end with the right result", run.dump());
}

Result<void> publish(HttpConnection& connection, const Endpoint& to, const std::string& file) {
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream code;
  code << stream.rdbuf();
  if (!stream || code.str().empty()) return Error{Errc::not_found, "cannot read " + file};
  SEQUENTIAL_TRY(const auto answer, connection.exchange(render_request(
                                        to, "PUT", "/tasks/many-calls",
                                        "Content-Type: application/javascript\r\n", code.str())));
  if (answer.status == 200 || answer.status == 201) return success();
  return wrong("many-calls cannot be published", answer.body);
}

Result<Json> get_json(HttpConnection& connection, const Endpoint& to, const std::string& target) {
  SEQUENTIAL_TRY(const auto answer, connection.exchange(render_request(to, "GET", target, "", "")));
  Json body = Json::parse(answer.body, nullptr, false);
  if (answer.status == 200 && body.is_object()) return body;
  return wrong("GET " + target + " answered " + std::to_string(answer.status), answer.body);
}

Result<std::int64_t> run_id(const HttpAnswer& answer) {
  const Json body = Json::parse(answer.body, nullptr, false);
  const Json& id = member(member(body, "data"), "taskRunId");
  if ((answer.status == 202 || answer.status == 200) && id.is_number_integer()) {
    return id.get<std::int64_t>();
  }
  return wrong("a run was not accepted: " + std::to_string(answer.status), answer.body);
}

Result<std::vector<Json>> checked_stack(HttpConnection& connection, const Endpoint& to,
                                        std::int64_t run, int calls) {
  std::vector<Json> rows;
  for (std::int64_t from = 0; from <= calls; from += kStackPage) {
    const std::string target = "/runs/" + std::to_string(run) +
                               "/stack?from=" + std::to_string(from) +
                               "&limit=" + std::to_string(kStackPage);
    SEQUENTIAL_TRY(auto page, get_json(connection, to, target));
    for (const auto& row : member(page, "stack")) rows.push_back(row);
  }
  if (rows.size() != static_cast<std::size_t>(calls) + 1) {
    return Error{Errc::response_invalid, "the run has " + std::to_string(rows.size()) +
                                             " stack runs, not " + std::to_string(calls + 1)};
  }
  for (int seq = 1; seq <= calls; ++seq) {
    SEQUENTIAL_TRY(check_call(rows[static_cast<std::size_t>(seq)], seq));
  }
  return rows;
}

Result<nlohmann::ordered_json> healthy_stats(HttpConnection& connection, const Endpoint& to) {
  SEQUENTIAL_TRY(const auto stats, get_json(connection, to, "/stats"));
  const Json& engine = member(stats, "engine");
  const Json& chain = member(stats, "chain");
  if (!is_number(engine, "deaths", 0)) return wrong("an engine process died", stats.dump());
  nlohmann::ordered_json kept = nlohmann::ordered_json::object();
  for (const char* name : {"slices", "replays", "evictions"}) kept[name] = member(engine, name);
  for (const char* name : {"sent", "failed", "dropped"}) {
    kept[std::string("hints_") + name] = member(chain, name);
  }
  return kept;
}

Result<double> timed_run(HttpConnection& connection, const Endpoint& to, int calls) {
  const std::string request = execute_request(to, calls, Wait::for_result);
  const MonoTime begun = system_clock().monotonic();
  SEQUENTIAL_TRY(const auto answer, connection.exchange(request));
  const MonoTime ended = system_clock().monotonic();
  SEQUENTIAL_TRY(check_completed(answer, calls));
  return std::chrono::duration<double, std::milli>(ended - begun).count();
}

Result<Prepared> prepare(const ServerCommand& command, const std::string& task_file) {
  SEQUENTIAL_TRY(auto server, ServerProcess::start(command));
  std::fprintf(stderr, "  server %d on port %d\n", static_cast<int>(server.pid()),
               server.endpoint().port);
  SEQUENTIAL_TRY(auto connection, HttpConnection::open(server.endpoint(), kAnswerWithin));
  SEQUENTIAL_TRY(publish(connection, server.endpoint(), task_file));
  return Prepared{std::move(server), std::move(connection)};
}

}  // namespace sequential::bench
