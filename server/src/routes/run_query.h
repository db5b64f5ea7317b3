#pragma once
// Which runs a request is about: the parameters of GET /runs, and the filters of POST /runs/purge
// and POST /runs/bulk.
//
// Threads: pure.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sequential/base/clock.h"
#include "sequential/base/error.h"
#include "sequential/storage/search.h"

namespace sequential::server {

using Parameters = std::vector<std::pair<std::string, std::string>>;

struct RunsAsked {
  storage::RunQuery query;
  TaskRunId cursor;
  int limit = 50;
};

// "name=value&name=value", decoded, in order. Errors: bad_request.
Result<Parameters> parameters_of(std::string_view query);
// A filter as JSON object text: its members are named like the parameters; a value is a text, a
// number, or a list of them, none of them empty. Errors: invalid_field.
Result<Parameters> parameters_of_filter(std::string_view json);
// `paged`: cursor, limit and order are known too. Errors: invalid_field.
Result<RunsAsked> runs_asked(const Parameters& parameters, bool paged);

// "30d", "12h", "90m", "45s", "500ms", "0" and "forever" (both 0). Errors: invalid_field.
Result<std::int64_t> parse_duration(std::string_view text, const std::string& field);
// "2026-01-31", with "T23:59" or "T23:59:59", with ".123", with "Z" or "+02:00". Errors:
// invalid_field.
Result<WallTime> parse_time(std::string_view text, const std::string& field);

}  // namespace sequential::server
