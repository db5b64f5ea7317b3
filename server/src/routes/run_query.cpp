#include "routes/run_query.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "http/types.h"
#include "sequential/base/json_text.h"

namespace sequential::server {
namespace {

constexpr std::size_t kTextMax = 256;         // bytes of one value
constexpr std::size_t kAttributeMax = 1'024;  // of an attribute's, which has no more
constexpr std::size_t kTagsMax = 16;   // of one query
constexpr int kLimitMax = 1'000;
constexpr std::int64_t kDurationMsMax = 100ll * 366 * 86'400'000;
constexpr std::string_view kNames =
    "status, task, version, tag, attr.NAME, created_after, created_before, started_after, "
    "started_before, ended_after, ended_before, text, queue_key, parent, idempotency_key, id, "
    "order, cursor, limit";

Error wrong(const std::string& field, const std::string& why) {
  return Error{Errc::invalid_field, field + " " + why, field};
}

Result<std::int64_t> whole(const std::string& field, const std::string& text, std::int64_t max) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < 1 || number > max) {
    return wrong(field, "must be a whole number from 1 to " + std::to_string(max));
  }
  return number;
}

bool is_number(const std::string& text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() && number - number == 0;
}

Result<void> read_statuses(storage::RunQuery& query, std::string_view text) {
  while (!text.empty()) {
    const auto comma = std::min(text.find(','), text.size());
    const auto status = storage::run_status_from(text.substr(0, comma));
    if (!status) {
      return wrong("status",
                   "must be queued, running, suspended_waiting_child, paused, completed, failed or "
                   "cancelled, or several of them with commas between");
    }
    query.statuses.push_back(*status);
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return success();
}

Result<void> read_attribute(storage::RunQuery& query, const std::string& field,
                            std::string value) {
  storage::TagMatch match;
  match.kind = storage::RunTag::Kind::attribute;
  match.key = field.substr(std::string_view("attr.").size());
  if (!value.empty() && (value[0] == '<' || value[0] == '>')) {
    match.how = value[0] == '<' ? storage::TagMatch::How::less : storage::TagMatch::How::greater;
    value.erase(0, 1);
    if (!is_number(value)) return wrong(field, "must have a number after < or >");
  }
  match.value = std::move(value);
  query.tags.push_back(std::move(match));
  return success();
}

void read_tag(storage::RunQuery& query, const std::string& value) {
  storage::TagMatch match;
  const auto colon = value.find(':');
  match.key = value.substr(0, colon);
  if (colon != std::string::npos) match.value = value.substr(colon + 1);
  query.tags.push_back(std::move(match));
}

// Whether `name` is a time's.
Result<bool> read_time(storage::RunQuery& query, const std::string& name,
                       const std::string& value) {
  struct Named {
    std::string_view name;
    std::optional<WallTime>& time;
  };
  const std::array<Named, 6> all{{{"created_after", query.created.after},
                                  {"created_before", query.created.before},
                                  {"started_after", query.started.after},
                                  {"started_before", query.started.before},
                                  {"ended_after", query.ended.after},
                                  {"ended_before", query.ended.before}}};
  const auto found =
      std::find_if(all.begin(), all.end(), [&name](const Named& one) { return one.name == name; });
  if (found == all.end()) return false;
  SEQUENTIAL_TRY(const WallTime time, parse_time(value, name));
  found->time = time;
  return true;
}

Result<void> read_page(RunsAsked& asked, const std::string& name, const std::string& value) {
  if (name == "order") {
    if (value != "newest" && value != "oldest") return wrong(name, "must be newest or oldest");
    asked.query.oldest_first = value == "oldest";
  } else if (name == "cursor") {
    SEQUENTIAL_TRY(const auto id, whole(name, value, INT64_MAX));
    asked.cursor = TaskRunId{id};
  } else {
    SEQUENTIAL_TRY(const auto limit, whole(name, value, kLimitMax));
    asked.limit = static_cast<int>(limit);
  }
  return success();
}

Result<void> read_one(RunsAsked& asked, const std::string& name, const std::string& value,
                      bool paged) {
  storage::RunQuery& query = asked.query;
  const std::size_t bytes_max = name.starts_with("attr.") ? kAttributeMax : kTextMax;
  if (value.size() > bytes_max) {
    return wrong(name, "is longer than " + std::to_string(bytes_max) + " bytes");
  }
  if (paged && (name == "order" || name == "cursor" || name == "limit")) {
    return read_page(asked, name, value);
  }
  SEQUENTIAL_TRY(const bool is_time, read_time(query, name, value));
  if (is_time) return success();
  if (name == "status") return read_statuses(query, value);
  if (name.starts_with("attr.")) return read_attribute(query, name, value);
  if (name == "tag") {
    read_tag(query, value);
  } else if (name == "version") {
    SEQUENTIAL_TRY(const auto version, whole(name, value, 1'000'000'000));
    query.version = static_cast<int>(version);
  } else if (name == "parent" || name == "id") {
    SEQUENTIAL_TRY(const auto id, whole(name, value, INT64_MAX));
    (name == "id" ? query.id : query.parent) = TaskRunId{id};
  } else if (name == "task") {
    query.task = value;
  } else if (name == "text") {
    query.text = value;
  } else if (name == "queue_key") {
    query.queue_key = value;
  } else if (name == "idempotency_key") {
    query.idempotency_key = value;
  } else {
    return wrong(name, "is not a parameter here; there are " + std::string(kNames));
  }
  return success();
}

// Nothing that is empty: a variable of a script that was not set would else mean every run.
Result<std::string> filter_value(const std::string& name, const nlohmann::json& value) {
  if (value.is_string()) {
    auto text = value.get<std::string>();
    if (text.empty()) return wrong("filter." + name, "is empty; leave it out if it is not meant");
    return text;
  }
  if (value.is_number()) return value.dump();
  return wrong("filter." + name, "must be a text, a number, or a list of them");
}

}  // namespace

Result<Parameters> parameters_of(std::string_view query) {
  Parameters parameters;
  while (!query.empty()) {
    const auto pair = query.substr(0, std::min(query.find('&'), query.size()));
    query.remove_prefix(std::min(pair.size() + 1, query.size()));
    if (pair.empty()) continue;
    const auto equals = std::min(pair.find('='), pair.size());
    SEQUENTIAL_TRY(auto name, percent_decode(pair.substr(0, equals)));
    std::string text(pair.substr(std::min(equals + 1, pair.size())));
    std::replace(text.begin(), text.end(), '+', ' ');
    SEQUENTIAL_TRY(auto value, percent_decode(text));
    parameters.emplace_back(std::move(name), std::move(value));
  }
  return parameters;
}

Result<Parameters> parameters_of_filter(std::string_view json) {
  Parameters parameters;
  const auto filter = nlohmann::json::parse(json, nullptr, false);
  if (!filter.is_object()) return wrong("filter", "must be an object");
  for (const auto& [name, value] : filter.items()) {
    if (!value.is_array()) {
      SEQUENTIAL_TRY(auto text, filter_value(name, value));
      parameters.emplace_back(name, std::move(text));
      continue;
    }
    if (value.empty()) return wrong("filter." + name, "is an empty list; leave it out");
    for (const auto& one : value) {
      SEQUENTIAL_TRY(auto text, filter_value(name, one));
      parameters.emplace_back(name, std::move(text));
    }
  }
  return parameters;
}

Result<RunsAsked> runs_asked(const Parameters& parameters, bool paged) {
  RunsAsked asked;
  for (const auto& [name, value] : parameters) {
    if (value.empty()) {  // as if it was not there, if it could be
      RunsAsked ignored;
      const auto read = read_one(ignored, name, "1", paged);
      const bool unknown = read.has_error() &&
                           read.error().message.find("is not a parameter") != std::string::npos;
      if (unknown) return read.error();
      continue;
    }
    SEQUENTIAL_TRY(read_one(asked, name, value, paged));
  }
  if (asked.query.tags.size() > kTagsMax) return wrong("tag", "is given too often: 16 in all");
  return asked;
}

Result<std::int64_t> parse_duration(std::string_view text, const std::string& field) {
  if (text == "forever") return 0;
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view unit = text.substr(static_cast<std::size_t>(end - text.data()));
  constexpr std::array<std::pair<std::string_view, std::int64_t>, 6> kUnits{
      {{"ms", 1}, {"s", 1'000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000},
       {"w", 7 * 86'400'000}}};
  const auto found = std::find_if(kUnits.begin(), kUnits.end(),
                                  [unit](const auto& one) { return one.first == unit; });
  if (error == std::errc() && number == 0 && (unit.empty() || found != kUnits.end())) return 0;
  if (error != std::errc() || number < 0 || found == kUnits.end() ||
      number > kDurationMsMax / found->second) {
    return wrong(field, "must be a length of time such as 30d, 12h, 90m, 45s or 500ms (w, d, h, m, "
                        "s, ms; a hundred years at most), or forever");
  }
  return number * found->second;
}

Result<WallTime> parse_time(std::string_view text, const std::string& field) {
  const Error error = wrong(field, "must be a time such as 2026-01-31T23:59:59Z, or a day in UTC");
  const auto digits = [&text](std::size_t at, std::size_t count) {
    int value = 0;
    if (text.size() < at + count) return -1;
    for (std::size_t i = at; i < at + count; ++i) {
      if (text[i] < '0' || text[i] > '9') return -1;
      value = value * 10 + (text[i] - '0');
    }
    return value;
  };
  namespace chrono = std::chrono;
  const int year = digits(0, 4), month = digits(5, 2), day = digits(8, 2);
  if (year < 0 || month < 0 || day < 0 || text[4] != '-' || text[7] != '-') return error;
  const chrono::year_month_day date(chrono::year(year), chrono::month(static_cast<unsigned>(month)),
                                    chrono::day(static_cast<unsigned>(day)));
  if (!date.ok()) return error;
  std::int64_t ms = chrono::sys_days(date).time_since_epoch().count() * 86'400'000ll;
  text.remove_prefix(10);
  if (text.empty()) return WallTime{ms};
  const int hour = digits(1, 2), minute = digits(4, 2);
  const bool seconds = text.size() > 6 && text[6] == ':';
  const int second = seconds ? digits(7, 2) : 0;
  const bool good = (text[0] == 'T' || text[0] == ' ') && hour >= 0 && hour < 24 && minute >= 0 &&
                    minute < 60 && second >= 0 && second < 60 && text[3] == ':';
  if (!good) return error;
  ms += ((hour * 60 + minute) * 60 + second) * 1'000ll;
  text.remove_prefix(seconds ? 9 : 6);
  if (seconds && text.starts_with('.')) {
    int scale = 100;
    text.remove_prefix(1);
    if (digits(0, 1) < 0) return error;
    for (; digits(0, 1) >= 0; text.remove_prefix(1), scale /= 10) ms += digits(0, 1) * scale;
  }
  if (text.empty() || text == "Z") return WallTime{ms};
  const int hours = digits(1, 2), minutes = digits(4, 2);
  if ((text[0] != '+' && text[0] != '-') || hours < 0 || minutes < 0 || text.size() != 6) {
    return error;
  }
  const std::int64_t offset = (hours * 60 + minutes) * 60'000ll;
  return WallTime{text[0] == '+' ? ms - offset : ms + offset};
}

}  // namespace sequential::server
