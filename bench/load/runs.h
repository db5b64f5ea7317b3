#pragma once
// Runs of the task many-calls: how to ask for one, and whether its answer is right.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "http.h"
#include "sequential/base/error.h"
#include "server_process.h"

namespace sequential::bench {

enum class Wait { for_result, no };

// POST /tasks/execute for a run of many-calls.
std::string execute_request(const Endpoint& to, int calls, Wait wait);

// Errors unless the answer is a completed run with the right sum.
Result<void> check_completed(const HttpAnswer& answer, int calls);
// The same of GET /runs/{id}.
Result<void> check_run(const nlohmann::json& run, int calls);

// PUT /tasks/many-calls from the file.
Result<void> publish(HttpConnection& connection, const Endpoint& to, const std::string& file);

Result<nlohmann::json> get_json(HttpConnection& connection, const Endpoint& to,
                                const std::string& target);

// The id of an accepted run.
Result<std::int64_t> run_id(const HttpAnswer& answer);

// All stack runs of a run in seq order, root first. Errors unless there are exactly `calls` calls,
// numbered without a gap, each completed with its own argument as the result.
Result<std::vector<nlohmann::json>> checked_stack(HttpConnection& connection, const Endpoint& to,
                                                  std::int64_t run, int calls);

// One run from request to result, checked; answers the milliseconds it took.
Result<double> timed_run(HttpConnection& connection, const Endpoint& to, int calls);

// A started server with the task published, and a connection to it.
struct Prepared {
  ServerProcess server;
  HttpConnection connection;
};
Result<Prepared> prepare(const ServerCommand& command, const std::string& task_file);

// What the server says of its engines and hints (GET /stats). An error if an engine died: a figure
// with replays in it is not what it says it is.
Result<nlohmann::ordered_json> healthy_stats(HttpConnection& connection, const Endpoint& to);

inline constexpr Millis kAnswerWithin{310'000};  // longer than any wait that we ask for

}  // namespace sequential::bench
