// /schedules, /schedules/{name} and what is done with one.

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "async.h"
#include "routes/page_budget.h"
#include "routes/render.h"
#include "routes/router.h"
#include "schedules/scheduler.h"
#include "sequential/base/json_text.h"
#include "sequential/storage/search.h"
#include "work/store_time.h"
#include "work/submission_fields.h"

namespace sequential::server {
namespace {

using storage::Schedule;

constexpr int kTicksShown = 5;
constexpr std::int64_t kTicksMax = 1'000;
constexpr std::int64_t kPageMax = 1'000, kPageDefault = 100;
constexpr int kKeyRowsMax = 1'000;
constexpr int kPutTries = 5;  // each because somebody else's came first

void time_or_null(JsonObject& object, std::string_view key, const std::optional<WallTime>& time) {
  time ? object.string(key, iso_time(*time)) : object.null(key);
}

std::vector<std::string> tick_texts(const Ticks& ticks, WallTime after, std::int64_t count) {
  std::vector<std::string> texts;
  auto tick = ticks.next(after);
  for (; tick && std::ssize(texts) < count; tick = ticks.next(*tick)) {
    texts.push_back(json_string(iso_time(*tick)));
  }
  return texts;
}

std::string render(const Schedule& s, const std::vector<std::string>* next_ticks) {
  JsonObject object;
  object.string("name", s.name).string("state", s.paused ? "paused" : "active");
  object.raw("spec", s.spec);
  time_or_null(object, "next_tick", s.next_tick);
  time_or_null(object, "starts_at", s.due_at);
  time_or_null(object, "last_tick", s.last_tick);
  s.last_run ? object.number("last_run_id", s.last_run.value) : object.null("last_run_id");
  time_or_null(object, "last_started_at", s.last_started_at);
  time_or_null(object, "last_skipped_at", s.last_skipped_at);
  object.number("started", s.started).number("skipped", s.skipped).number("missed", s.missed);
  object.string("created_at", iso_time(s.created_at)).string("updated_at", iso_time(s.updated_at));
  if (next_ticks != nullptr) object.raw("next_ticks", json_array(*next_ticks));
  return std::move(object).text();
}

net::awaitable<Result<Schedule>> find(RouteContext& context, const std::string& name) {
  auto read = [&context, &name](auto done) {
    context.store.schedules()->get(name, std::move(done));
  };
  co_return co_await completes<Result<Schedule>>(std::move(read));
}

Result<ScheduleSpec> spec_of(RouteContext& context, const Schedule& schedule) {
  return read_spec(schedule.spec, context.options.payload_bytes_max);
}

Answer shown(RouteContext& context, Schedule schedule, int status) {
  const auto spec = spec_of(context, schedule);
  if (spec.has_error()) co_return problem(spec.error());
  const auto ticks = ticks_of(spec.value());
  const auto now = co_await store_now(context.store);
  if (now.has_error()) co_return problem(now.error());
  std::vector<std::string> next;
  if (ticks.has_value()) next = tick_texts(ticks.value(), now.value(), kTicksShown);
  co_return json_response(status, render(schedule, &next));
}

// Its tick that comes next, if it is not paused. One that has come already stays: an unchanged
// schedule that is put again loses nothing.
void set_next(storage::SchedulePut& put, const ScheduleSpec& spec, const Ticks& ticks, WallTime now,
              const std::optional<WallTime>& kept) {
  if (put.paused) return;
  put.next_tick = kept ? kept : ticks.next(now);
  if (put.next_tick) put.due_at = due_at(put.name, spec, *put.next_tick);
}

net::awaitable<Result<Schedule>> write(RouteContext& context, storage::SchedulePut put) {
  put.count_max = context.scheduler.options().count_max;
  auto store = [&context, &put](auto done) {
    context.store.schedules()->put(std::move(put), std::move(done));
  };
  auto written = co_await completes<Result<Schedule>>(std::move(store));
  if (written.has_value()) context.scheduler.kick();
  co_return written;
}

Answer put_once(RouteContext& context, const std::string& name, const ScheduleSpec& spec,
                bool last_try, bool& again) {
  const auto ticks = ticks_of(spec);
  if (ticks.has_error()) co_return problem(ticks.error());
  const auto now = co_await store_now(context.store);
  if (now.has_error()) co_return problem(now.error());
  const auto known = co_await find(context, name);
  if (known.has_error() && known.error().code != Errc::schedule_not_found) {
    co_return problem(known.error());
  }
  storage::SchedulePut put;
  put.name = name;
  put.spec = spec_text(spec);
  put.overlap = spec.overlap;
  put.paused = spec.paused.value_or(known.has_value() && known.value().paused);
  std::optional<WallTime> kept;
  if (known.has_value()) {
    put.revision = known.value().revision;
    const auto before = spec_of(context, known.value());
    if (before.has_value() && before.value().cron == spec.cron &&
        before.value().time_zone == spec.time_zone) {
      kept = known.value().next_tick;
    }
  }
  set_next(put, spec, ticks.value(), now.value(), kept);
  auto written = co_await write(context, std::move(put));
  again = written.has_error() && written.error().code == Errc::conflict && !last_try;
  if (written.has_error()) co_return problem(written.error());
  co_return co_await shown(context, std::move(written).value(), known.has_value() ? 200 : 201);
}

Answer put(RouteContext& context, const HttpRequest& request) {
  const std::string& name = request.segments[1];
  const auto named = check_name(name, "name");
  if (named.has_error()) co_return problem(named.error());
  const auto spec = read_spec(request.body, context.options.payload_bytes_max);
  if (spec.has_error()) co_return problem(spec.error());
  if (!spec.value().tags.empty()) {
    const auto tags = nlohmann::json::parse(spec.value().tags, nullptr, false);
    const auto checked = read_tags(tags, "tags", context.options.tags_max);
    if (checked.has_error()) co_return problem(checked.error());
  }
  const auto code = co_await context.processor.newest_code(spec.value().task, spec.value().version);
  if (code.has_error()) co_return problem(code.error());
  for (int tried = 1;; ++tried) {
    bool again = false;
    auto answer = co_await put_once(context, name, spec.value(), tried == kPutTries, again);
    if (!again) co_return answer;
  }
}

Answer set_paused(RouteContext& context, const std::string& name, bool paused) {
  for (int tried = 1;; ++tried) {
    auto known = co_await find(context, name);
    if (known.has_error()) co_return problem(known.error());
    if (known.value().paused == paused) {
      co_return co_await shown(context, std::move(known).value(), 200);
    }
    const auto spec = spec_of(context, known.value());
    if (spec.has_error()) co_return problem(spec.error());
    const auto ticks = ticks_of(spec.value());
    if (ticks.has_error()) co_return problem(ticks.error());
    const auto now = co_await store_now(context.store);
    if (now.has_error()) co_return problem(now.error());
    storage::SchedulePut put;
    put.name = name;
    put.spec = known.value().spec;
    put.overlap = known.value().overlap;
    put.paused = paused;
    put.revision = known.value().revision;
    set_next(put, spec.value(), ticks.value(), now.value(), std::nullopt);
    auto written = co_await write(context, std::move(put));
    if (written.has_value()) co_return co_await shown(context, std::move(written).value(), 200);
    if (written.error().code != Errc::conflict || tried == kPutTries) {
      co_return problem(written.error());
    }
  }
}

Answer list(RouteContext& context, const HttpRequest& request) {
  const auto limit = query_int(request, "limit", kPageDefault, 1, kPageMax);
  if (limit.has_error()) co_return problem(limit.error());
  std::string last = query_value(request.query, "cursor");
  std::vector<std::string> items;
  PageBudget page(limit.value(), kPageBytesMax);
  bool all = false;
  while (const int portion = all ? 0 : page.portion()) {
    auto read = [&context, &last, portion](auto done) {
      context.store.schedules()->list(last, portion, std::move(done));
    };
    const auto found = co_await completes<Result<std::vector<Schedule>>>(std::move(read));
    if (found.has_error()) co_return problem(found.error());
    all = std::ssize(found.value()) < portion;
    for (const auto& schedule : found.value()) {
      std::string item = render(schedule, nullptr);
      if (!page.take(item.size())) {
        all = false;
        break;
      }
      items.push_back(std::move(item));
      last = schedule.name;
    }
  }
  JsonObject body;
  body.raw("schedules", json_array(items));
  if (all) {
    body.null("next_cursor");
  } else {
    body.string("next_cursor", last);
  }
  co_return json_response(200, std::move(body).text());
}

Answer remove(RouteContext& context, const std::string& name) {
  auto write = [&context, &name](auto done) {
    context.store.schedules()->remove(name, std::move(done));
  };
  const auto removed = co_await completes<Result<bool>>(std::move(write));
  if (removed.has_error()) co_return problem(removed.error());
  if (removed.value()) co_return json_response(204, {});
  co_return problem(Error{Errc::schedule_not_found, "there is no schedule '" + name + "'"});
}

Answer preview(RouteContext& context, const HttpRequest& request, const Schedule& schedule) {
  const auto count = query_int(request, "count", 10, 1, kTicksMax);
  if (count.has_error()) co_return problem(count.error());
  const auto spec = spec_of(context, schedule);
  if (spec.has_error()) co_return problem(spec.error());
  const auto ticks = ticks_of(spec.value());
  if (ticks.has_error()) co_return problem(ticks.error());
  const auto now = co_await store_now(context.store);
  if (now.has_error()) co_return problem(now.error());
  JsonObject body;
  body.string("now", iso_time(now.value())).string("time_zone", spec.value().time_zone);
  body.raw("ticks", json_array(tick_texts(ticks.value(), now.value(), count.value())));
  co_return json_response(200, std::move(body).text());
}

// The members of an optional JSON body. Errors: invalid_json; invalid_field for one not in `known`.
Result<nlohmann::json> read_members(const std::string& body,
                                    const std::vector<std::string>& known) {
  if (body.empty()) return nlohmann::json::object();
  SEQUENTIAL_TRY(check_json(body, DuplicateKeys::refuse));
  auto parsed = nlohmann::json::parse(body, nullptr, false);
  if (!parsed.is_object()) return Error{Errc::invalid_field, "the body must be a JSON object"};
  for (const auto& [name, value] : parsed.items()) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    return Error{Errc::invalid_field, name + " is not a member of this request", name};
  }
  return parsed;
}

// `tick` is JSON text.
HttpResponse triggered(TaskRunId run, std::string_view tick) {
  JsonObject data;
  data.number("taskRunId", run.value).raw("tick", tick);
  auto response =
      json_response(202, std::move(JsonObject().raw("data", std::move(data).text())).text());
  response.headers.emplace_back("Location", "/runs/" + std::to_string(run.value));
  return response;
}

// The run that a request with this key has started before.
net::awaitable<Result<std::optional<storage::TaskRun>>> run_of_key(RouteContext& context,
                                                                   const std::string& key) {
  using Found = Result<std::optional<storage::TaskRun>>;
  storage::RunQuery query;
  query.idempotency_key = key;
  auto read = [&context, &query](auto done) {
    context.store.search()->find_runs(query, TaskRunId(), 1, kKeyRowsMax, std::move(done));
  };
  auto page = co_await completes<Result<storage::RunPage>>(std::move(read));
  if (page.has_error()) co_return std::move(page).error();
  if (page.value().runs.empty()) co_return Found(std::nullopt);
  co_return Found(std::move(page.value().runs.front()));
}

Answer trigger(RouteContext& context, const HttpRequest& request, const Schedule& schedule) {
  auto body = read_members(request.body, {"overlap"});
  if (body.has_error()) co_return problem(body.error());
  storage::ScheduleFire fire;
  fire.overlap = schedule.overlap;
  if (body.value().contains("overlap")) {
    const auto& given = body.value()["overlap"];
    const auto overlap = given.is_string() ? storage::overlap_from(given.get<std::string>())
                                           : std::optional<storage::Overlap>();
    if (overlap != storage::Overlap::allow && overlap != storage::Overlap::skip) {
      co_return problem(
          Error{Errc::invalid_field, "overlap must be allow or skip here", "overlap"});
    }
    fire.overlap = *overlap;
  }
  std::string key;
  const auto header = read_key_header(request, key);
  if (header.has_error()) co_return problem(header.error());
  if (!key.empty()) {
    key = trigger_key(schedule.name, key);
    const auto known = co_await run_of_key(context, key);
    if (known.has_error()) co_return problem(known.error());
    if (known.value()) {
      co_return triggered(known.value()->id, json_member(known.value()->tags, "tick"));
    }
  }
  const auto spec = spec_of(context, schedule);
  if (spec.has_error()) co_return problem(spec.error());
  const auto now = co_await store_now(context.store);
  if (now.has_error()) co_return problem(now.error());
  fire.name = schedule.name;
  fire.revision = schedule.revision;
  fire.tick = now.value();
  const auto fired = co_await context.scheduler.start(std::move(fire), spec.value(), key);
  if (fired.has_error() && fired.error().code == Errc::fenced) {
    co_return problem(Error{Errc::conflict, "the schedule was changed at the same moment"});
  }
  if (fired.has_error()) co_return problem(fired.error());
  if (!fired.value().submitted) {
    co_return problem(
        Error{Errc::conflict, "run " + std::to_string(fired.value().previous.value) +
                                  " of this schedule is not over; {\"overlap\": \"allow\"} starts "
                                  "another beside it"});
  }
  co_return triggered(fired.value().submitted->run, json_string(iso_time(now.value())));
}

// "2026-11-22T06:00:00Z", with or without fractions of a second, or an offset such as +01:00.
Result<WallTime> read_time(const nlohmann::json& body, const std::string& field) {
  const Error wrong{Errc::invalid_field, field + " must be a time such as 2026-11-22T06:00:00Z",
                    field};
  if (!body.contains(field) || !body[field].is_string()) return wrong;
  const auto text = body[field].get<std::string>();
  std::tm tm{};
  const char* rest = ::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &tm);
  if (rest == nullptr) return wrong;
  std::int64_t ms = static_cast<std::int64_t>(::timegm(&tm)) * 1000;
  if (*rest == '.') {
    int scale = 100;
    for (++rest; *rest >= '0' && *rest <= '9'; ++rest, scale /= 10) ms += (*rest - '0') * scale;
  }
  if (std::string_view(rest) == "Z") return WallTime{ms};
  int hours = 0, minutes = 0, length = 0;
  if ((*rest != '+' && *rest != '-') ||
      std::sscanf(rest + 1, "%2d:%2d%n", &hours, &minutes, &length) != 2 || length != 5 ||
      rest[6] != '\0' || hours < 0 || minutes < 0) {
    return wrong;
  }
  const std::int64_t offset = (hours * 60ll + minutes) * 60'000;
  return WallTime{*rest == '+' ? ms - offset : ms + offset};
}

Answer backfill(RouteContext& context, const HttpRequest& request, const Schedule& schedule) {
  const auto body = read_members(request.body, {"from", "to"});
  if (body.has_error()) co_return problem(body.error());
  const auto from = read_time(body.value(), "from");
  if (from.has_error()) co_return problem(from.error());
  const auto to = read_time(body.value(), "to");
  if (to.has_error()) co_return problem(to.error());
  const auto now = co_await store_now(context.store);
  if (now.has_error()) co_return problem(now.error());
  if (to.value() < from.value() || to.value() > now.value()) {
    co_return problem(
        Error{Errc::invalid_field, "to must not be before from, nor in the future", "to"});
  }
  const auto spec = spec_of(context, schedule);
  if (spec.has_error()) co_return problem(spec.error());
  const auto ticks = ticks_of(spec.value());
  if (ticks.has_error()) co_return problem(ticks.error());
  const int most = context.scheduler.options().backfill_max;
  std::vector<WallTime> wanted;
  auto tick = ticks.value().next(WallTime{from.value().ms - 1});
  for (; tick && *tick <= to.value(); tick = ticks.value().next(*tick)) {
    if (std::ssize(wanted) == most) {
      co_return problem(Error{Errc::invalid_field,
                              "to: there are more than " + std::to_string(most) +
                                  " ticks up to then (schedules.backfill_max); the last that "
                                  "fits is " +
                                  iso_time(wanted.back()),
                              "to"});
    }
    wanted.push_back(*tick);
  }
  std::vector<std::string> runs;
  std::int64_t started = 0;
  for (const WallTime one : wanted) {
    if (!context.ready) co_return problem(Error{Errc::shutting_down, "the server is stopping"});
    const auto submitted = co_await context.scheduler.submit(schedule.name, spec.value(), one);
    if (submitted.has_error()) co_return problem(submitted.error());
    if (!submitted.value().existing) ++started;
    JsonObject run;
    run.string("tick", iso_time(one)).number("taskRunId", submitted.value().run.value);
    run.boolean("existing", submitted.value().existing);
    runs.push_back(std::move(run).text());
  }
  JsonObject answer;
  answer.number("started", started).number("existing", std::ssize(runs) - started);
  answer.raw("runs", json_array(runs));
  co_return json_response(200, std::move(answer).text());
}

Answer act(RouteContext& context, const HttpRequest& request, const std::string& what) {
  const std::string& name = request.segments[1];
  if (what == "pause") co_return co_await set_paused(context, name, true);
  if (what == "resume") co_return co_await set_paused(context, name, false);
  const auto found = co_await find(context, name);
  if (found.has_error()) co_return problem(found.error());
  if (!context.ready) co_return problem(Error{Errc::shutting_down, "the server is stopping"});
  if (what == "trigger") co_return co_await trigger(context, request, found.value());
  co_return co_await backfill(context, request, found.value());
}

}  // namespace

Answer route_schedules(RouteContext& context, const HttpRequest& request) {
  if (context.store.schedules() == nullptr) co_return not_found();
  const bool get = request.verb == Verb::get || request.verb == Verb::head;
  const auto& path = request.segments;
  if (path.size() == 1) {
    if (!get) co_return method_not_allowed("GET");
    co_return co_await list(context, request);
  }
  if (path.size() == 2 && request.verb == Verb::put) co_return co_await put(context, request);
  if (path.size() == 2 && request.verb == Verb::del) co_return co_await remove(context, path[1]);
  if (path.size() == 2 && !get) co_return method_not_allowed("GET, PUT, DELETE");
  if (path.size() > 3) co_return not_found();
  const std::string what = path.size() == 3 ? path[2] : std::string();
  if (what == "pause" || what == "resume" || what == "trigger" || what == "backfill") {
    if (request.verb != Verb::post) co_return method_not_allowed("POST");
    co_return co_await act(context, request, what);
  }
  if (!what.empty() && what != "next") co_return not_found();
  if (!get) co_return method_not_allowed("GET");
  auto found = co_await find(context, path[1]);
  if (found.has_error()) co_return problem(found.error());
  if (what == "next") co_return co_await preview(context, request, found.value());
  co_return co_await shown(context, std::move(found).value(), 200);
}

}  // namespace sequential::server
