#include "schedules/spec.h"

#include <algorithm>
#include <array>
#include <deque>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "routes/render.h"
#include "sequential/base/bytes.h"
#include "sequential/base/json_text.h"

namespace sequential::server {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kTagsMax = 4'096, kDescriptionMax = 1'000, kTaskMax = 128, kCronMax = 256;
constexpr std::size_t kQueueKeyMax = 256;
constexpr int kPriorityMax = 1'000;
constexpr std::int64_t kDayMs = 24ll * 3'600'000;
constexpr std::int64_t kWindowMinMs = 10'000;  // what is no later than this was not missed
constexpr std::size_t kMissedCounted = 1'000;  // so many at a time; older ones are not counted
constexpr char kKeyMark = '\xff';              // begins no UTF-8, so no user's key

constexpr std::array<std::string_view, 3> kCatchUps{"latest", "all", "none"};

Error field_error(const std::string& field, const std::string& why) {
  return Error{Errc::invalid_field, field + " " + why, field};
}

Result<std::string> text(const Json& value, const std::string& field, std::size_t max) {
  if (!value.is_string()) return field_error(field, "must be a text");
  auto out = value.get<std::string>();
  if (out.empty() || out.size() > max) {
    return field_error(field, "must have 1 to " + std::to_string(max) + " bytes");
  }
  return out;
}

Result<std::int64_t> integer(const Json& value, const std::string& field, std::int64_t min,
                             std::int64_t max) {
  const Error wrong = field_error(
      field, "must be a whole number from " + std::to_string(min) + " to " + std::to_string(max));
  if (!value.is_number_integer()) return wrong;
  if (value.is_number_unsigned() && value.get<std::uint64_t>() > INT64_MAX) return wrong;
  const auto number = value.get<std::int64_t>();
  if (number < min || number > max) return wrong;
  return number;
}

Result<bool> boolean(const Json& value, const std::string& field) {
  if (!value.is_boolean()) return field_error(field, "must be true or false");
  return value.get<bool>();
}

Result<void> read_time(ScheduleSpec& spec, const std::string& name, const Json& value) {
  if (name == "cron") {
    SEQUENTIAL_TRY(spec.cron, text(value, name, kCronMax));
  } else if (name == "time_zone") {
    SEQUENTIAL_TRY(spec.time_zone, text(value, name, 64));
  } else if (name == "overlap") {
    const auto overlap =
        value.is_string() ? storage::overlap_from(value.get<std::string>()) : std::nullopt;
    if (!overlap) return field_error(name, "must be allow, skip, queue or cancel");
    spec.overlap = *overlap;
  } else if (name == "jitter_ms") {
    SEQUENTIAL_TRY(const auto ms, integer(value, name, 0, kDayMs));
    spec.jitter = Millis{ms};
  } else if (name == "catch_up") {
    const auto* const found =
        value.is_string() ? std::find(kCatchUps.begin(), kCatchUps.end(), value.get<std::string>())
                          : kCatchUps.end();
    if (found == kCatchUps.end()) return field_error(name, "must be latest, all or none");
    spec.catch_up = static_cast<CatchUp>(found - kCatchUps.begin());
  } else {  // catch_up_window_ms
    SEQUENTIAL_TRY(const auto ms, integer(value, name, kWindowMinMs, 366 * kDayMs));
    spec.catch_up_window = Millis{ms};
  }
  return success();
}

Result<void> read_member(ScheduleSpec& spec, const std::string& name, const Json& value) {
  constexpr std::array<std::string_view, 6> kTimes{"cron",      "time_zone", "overlap",
                                                   "jitter_ms", "catch_up",  "catch_up_window_ms"};
  if (std::find(kTimes.begin(), kTimes.end(), name) != kTimes.end()) {
    return read_time(spec, name, value);
  }
  if (name == "input") return success();  // taken from the text
  if (name == "task") {
    SEQUENTIAL_TRY(spec.task, text(value, name, kTaskMax));
  } else if (name == "queue_key") {
    SEQUENTIAL_TRY(spec.queue_key, text(value, name, kQueueKeyMax));
  } else if (name == "description") {
    SEQUENTIAL_TRY(spec.description, text(value, name, kDescriptionMax));
  } else if (name == "version") {
    SEQUENTIAL_TRY(const auto version, integer(value, name, 1, 1'000'000'000));
    spec.version = static_cast<int>(version);
  } else if (name == "priority") {
    SEQUENTIAL_TRY(const auto priority, integer(value, name, -kPriorityMax, kPriorityMax));
    spec.priority = static_cast<int>(priority);
  } else if (name == "input_with_tick") {
    SEQUENTIAL_TRY(spec.input_with_tick, boolean(value, name));
  } else if (name == "paused") {
    SEQUENTIAL_TRY(const bool paused, boolean(value, name));
    spec.paused = paused;
  } else if (name == "tags") {
    if (!value.is_object()) return field_error(name, "must be an object");
    spec.tags = value.dump();
    if (spec.tags.size() > kTagsMax) return field_error(name, "is too large");
  } else {
    return field_error(name,
                       "is not a member of a schedule; there are task, version, input, "
                       "input_with_tick, tags, priority, queue_key, description, cron, time_zone, "
                       "overlap, jitter_ms, catch_up, catch_up_window_ms and paused");
  }
  return success();
}

// Without the input, which may hold what only JSON.parse takes (an escaped lone surrogate).
Result<Json> parse_without_input(const std::string& body, std::string_view input) {
  std::string envelope = body;
  if (!input.empty()) {
    envelope.replace(static_cast<std::size_t>(input.data() - body.data()), input.size(), "null");
  }
  Json parsed = Json::parse(envelope, nullptr, false);
  if (parsed.is_object()) return parsed;
  return Error{Errc::invalid_json, "only the input may hold an escaped lone surrogate"};
}

}  // namespace

std::string_view catch_up_name(CatchUp catch_up) noexcept {
  const auto index = static_cast<std::size_t>(catch_up);
  return index < kCatchUps.size() ? kCatchUps[index] : std::string_view();
}

Result<ScheduleSpec> read_spec(const std::string& json, std::int64_t input_bytes_max) {
  SEQUENTIAL_TRY(check_json(json, DuplicateKeys::refuse));
  if (json[json.find_first_not_of(" \t\r\n")] != '{') {
    return Error{Errc::invalid_field, "the body must be a JSON object"};
  }
  ScheduleSpec spec;
  const std::string_view input = json_member(json, "input");
  SEQUENTIAL_TRY(const Json body, parse_without_input(json, input));
  for (const auto& [name, value] : body.items()) {
    SEQUENTIAL_TRY(read_member(spec, name, value));
  }
  if (!input.empty()) spec.input = input;
  if (spec.input.size() > static_cast<std::size_t>(input_bytes_max)) {
    return Error{Errc::payload_too_large, "the input is larger than limits.payload_bytes", "input"};
  }
  if (spec.task.empty()) return field_error("task", "is missing: the name of a published task");
  if (spec.cron.empty()) {
    return field_error("cron", "is missing: when it runs, such as \"0 6 * * MON-FRI\"");
  }
  return spec;
}

std::string spec_text(const ScheduleSpec& spec) {
  JsonObject object;
  object.string("task", spec.task).string("cron", spec.cron).string("time_zone", spec.time_zone);
  if (spec.version > 0) object.number("version", spec.version);
  if (!spec.description.empty()) object.string("description", spec.description);
  if (!spec.tags.empty()) object.raw("tags", spec.tags);
  if (spec.priority != 0) object.number("priority", spec.priority);
  if (!spec.queue_key.empty()) object.string("queue_key", spec.queue_key);
  object.string("overlap", storage::overlap_name(spec.overlap))
      .number("jitter_ms", spec.jitter.count())
      .string("catch_up", catch_up_name(spec.catch_up))
      .number("catch_up_window_ms", spec.catch_up_window.count())
      .boolean("input_with_tick", spec.input_with_tick)
      .raw("input", spec.input);
  return std::move(object).text();
}

Result<Ticks> ticks_of(const ScheduleSpec& spec) { return Ticks::make(spec.cron, spec.time_zone); }

WallTime due_at(const std::string& name, const ScheduleSpec& spec, WallTime tick) {
  return tick + jitter_of(name, tick, spec.jitter);
}

TickList newest_ticks(const Ticks& ticks, WallTime first, WallTime last, std::size_t count) {
  // Looks back twice as far each time, so that years of seconds are not counted one by one.
  for (Millis span{1'000};; span *= 2) {
    const WallTime from = std::max(WallTime{first.ms - 1}, WallTime{last.ms - span.count()});
    std::deque<WallTime> found;
    bool more = from.ms >= first.ms;
    for (auto tick = ticks.next(from); tick && *tick <= last; tick = ticks.next(*tick)) {
      found.push_back(*tick);
      if (found.size() <= count) continue;
      found.pop_front();
      more = true;
    }
    if (from.ms < first.ms || found.size() == count) return {{found.begin(), found.end()}, more};
  }
}

storage::ScheduleFire plan_fire(const storage::Schedule& schedule, const ScheduleSpec& spec,
                                const Ticks& ticks, WallTime now, int catch_up_max) {
  const bool all = spec.catch_up == CatchUp::all;
  const WallTime first = schedule.next_tick.value_or(now);
  const auto wanted =
      std::max(all ? static_cast<std::size_t>(catch_up_max) : kMissedCounted, std::size_t{1});
  auto due = newest_ticks(ticks, first, now, wanted).ticks;
  // One that its jitter puts off is not due, nor is what comes behind it.
  const auto not_due = [&](WallTime tick) { return due_at(schedule.name, spec, tick) > now; };
  due.erase(std::find_if(due.begin(), due.end(), not_due), due.end());
  if (due.empty()) due.push_back(first);  // is due, the store says; time zones may have changed
  // What waited for the run before is late only since that ended.
  const bool waits =
      spec.overlap == storage::Overlap::queue || spec.overlap == storage::Overlap::cancel;
  const WallTime free_since = waits ? schedule.last_run_ended_at.value_or(WallTime{}) : WallTime{};
  const Millis window =
      spec.catch_up == CatchUp::none ? Millis{kWindowMinMs} : spec.catch_up_window;
  const auto in_time = [&](WallTime tick) {
    return now - std::max(due_at(schedule.name, spec, tick), free_since) <= window;
  };
  const auto chosen = all ? std::find_if(due.begin(), due.end(), in_time) : std::prev(due.end());

  storage::ScheduleFire fire;
  fire.name = schedule.name;
  fire.revision = schedule.revision;
  fire.expected = schedule.next_tick;
  fire.overlap = spec.overlap;
  fire.start = chosen != due.end() && in_time(*chosen);
  fire.tick = chosen != due.end() ? *chosen : due.back();
  fire.missed = (chosen != due.end() ? chosen - due.begin() : std::ssize(due)) +
                (chosen != due.end() && !fire.start ? 1 : 0);
  fire.next_tick = ticks.next(fire.tick);
  if (fire.next_tick) fire.due_at = due_at(schedule.name, spec, *fire.next_tick);
  return fire;
}

storage::Submission submission_of(const std::string& name, const ScheduleSpec& spec, WallTime tick,
                                  bool key) {
  storage::Submission submission;
  const std::string when = iso_time(tick);
  auto tags = spec.tags.empty() ? Json::object() : Json::parse(spec.tags, nullptr, false);
  if (!tags.is_object()) tags = Json::object();
  tags["schedule"] = name;
  tags["tick"] = when;
  submission.tags = tags.dump();
  submission.input = spec.input;
  if (spec.input_with_tick) {
    submission.input =
        std::move(
            JsonObject().string("schedule", name).string("tick", when).raw("input", spec.input))
            .text();
  }
  submission.priority = spec.priority;
  submission.queue_key = spec.queue_key;
  submission.seed = random_bytes(16);
  if (key) {
    submission.idempotency_key = kKeyMark + ("schedule/" + name + "/" + std::to_string(tick.ms));
  }
  return submission;
}

std::string trigger_key(const std::string& name, const std::string& key) {
  return kKeyMark + ("trigger/" + name + "/" + key);
}

bool is_tick_key(std::string_view key) { return !key.empty() && key.front() == kKeyMark; }

}  // namespace sequential::server
