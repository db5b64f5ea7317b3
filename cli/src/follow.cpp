#include "follow.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "events.h"
#include "interrupt.h"
#include "json_body.h"
#include "sequential/base/json_text.h"

namespace sequential::cli {
namespace {

using nlohmann::json;

constexpr std::int64_t kLiveWaitSeconds = 1;    // how old a progress line may be
constexpr std::int64_t kQuietWaitSeconds = 20;  // one request per so long when nobody looks
constexpr int kBarColumns = 20;                 // of a progress bar
constexpr Millis kPollPauseMin{200};            // when the server answers without waiting
constexpr Millis kAwayPause{500};

Millis since(MonoTime start) {
  return std::chrono::duration_cast<Millis>(system_clock().monotonic() - start);
}

// What the run shows of itself, for a line: its progress, else its status if that is short.
std::string show_state(const json& record, int bar_columns) {
  if (!has(record, "state")) return "";
  const json& state = record["state"];
  std::string out = has(state, "progress") ? show_progress(state["progress"], bar_columns) : "";
  if (out.empty() && has(state, "status")) {
    out = state["status"].is_string()
              ? state["status"].get<std::string>()
              : state["status"].dump(-1, ' ', false, json::error_handler_t::replace);
  }
  return out.empty() ? out : out + "  ";
}

// The one line that is rewritten in place.
class Progress {
 public:
  explicit Progress(const Session& session) : session_(session) {}
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() { clear(); }

  bool live() const { return session_.err().is_terminal; }

  void show(std::int64_t run, const json& record, const std::string& last_log) {
    if (!live()) return;
    const std::int64_t calls = number_of(record, "calls");
    const MonoTime now = system_clock().monotonic();
    const auto elapsed = std::chrono::duration<double>(now - rate_at_).count();
    if (elapsed >= 0.5) {
      rate_ = static_cast<double>(calls - rate_calls_) / elapsed;
      rate_calls_ = calls;
      rate_at_ = now;
    }
    std::string line = "run " + std::to_string(run) + "  " + text_of(record, "status") + "  " +
                       show_state(record, kBarColumns) +
                       grouped(calls) + (calls == 1 ? " call  " : " calls  ") + show_rate() + "  " +
                       show_duration_ms(since(start_).count());
    if (!last_log.empty()) line += "  " + last_log;
    write(line);
  }
  void show_away() {
    write("the server does not answer; the run is safe in its database; trying again …");
  }
  void clear() {
    if (!shown_) return;
    std::fputs("\r\x1b[K", session_.main().err);
    std::fflush(session_.main().err);
    shown_ = false;
  }

 private:
  std::string show_rate() const {
    char text[32];
    if (rate_ >= 10) return grouped(static_cast<std::int64_t>(rate_)) + "/s";
    std::snprintf(text, sizeof text, "%.1f/s", std::max(rate_, 0.0));
    return text;
  }
  void write(const std::string& line) {
    if (!live()) return;
    const std::size_t columns = std::max<std::size_t>(session_.err().columns, 20) - 1;
    const std::string cut = fit(clip_utf8(line, line.size() * 6), columns);
    std::fprintf(session_.main().err, "\r\x1b[K%s", cut.c_str());
    std::fflush(session_.main().err);
    shown_ = true;
  }

  const Session& session_;
  const MonoTime start_ = system_clock().monotonic();
  bool shown_ = false;
  double rate_ = 0;
  std::int64_t rate_calls_ = 0;
  MonoTime rate_at_ = start_;
};

class Follower {
 public:
  Follower(Session& session, std::int64_t run, Millis timeout)
      : session_(session), run_(run), timeout_(timeout), progress_(session) {}

  Followed follow() {
    for (;;) {
      const std::int64_t wait = streams_ ? 0 : wait_seconds();
      const MonoTime asked = system_clock().monotonic();
      auto sent = session_.client().send(
          {.path = path() + "?wait=" + std::to_string(wait),
           .timeout = kRequestTimeout + std::chrono::seconds(wait)});
      if (Interrupt::requested()) return leave("Interrupted.");
      if (!sent || sent.value().status >= 500 || sent.value().status == 429) {
        if (auto end = away(sent)) return *end;
      } else if (sent.value().status >= 300) {
        progress_.clear();
        return {.exit = session_.report(problem_of(sent.value())), .body = {}};
      } else {
        away_since_.reset();
        json record = parse_body(sent.value().body).value_or(json::object());
        if (is_settled(text_of(record, "status"))) {
          return {.exit = kExitOk, .body = std::move(sent.value().body)};
        }
        if (streams_) {
          stream(std::move(record));
        } else if (progress_.live()) {
          progress_.show(run_, record, last_log());
        }
        if (since(asked) < kPollPauseMin) Interrupt::pause(kPollPauseMin);
      }
      if (Interrupt::requested()) return leave("Interrupted.");
      if (timeout_.count() > 0 && since(start_) >= timeout_) return leave("Not done yet.");
    }
  }

 private:
  std::string path() const { return "/runs/" + std::to_string(run_); }

  // Shows what happens as it happens, until the run is settled or the stream is over.
  void stream(json record) {
    const auto show = [&] { progress_.show(run_, record, last_log_); };
    const auto in_time = [&] {
      return !Interrupt::requested() && (timeout_.count() == 0 || since(start_) < timeout_);
    };
    EventReader::Callbacks callbacks;
    callbacks.event = [&](const std::string& name, const std::string& data) {
      const json body = parse_body(data).value_or(json::object());
      if (name == "log") {
        last_log_ = text_of(body, "message");
        last_log_ = last_log_.substr(0, last_log_.find('\n'));
      } else if (name == "state") {
        record["state"] = body;
      } else if (name == "run") {
        if (is_settled(text_of(body, "status"))) return false;
        const json state = has(record, "state") ? record["state"] : json();
        record = body;
        record["state"] = state;
      } else if (name == "end") {
        return false;
      }
      show();
      return in_time();
    };
    callbacks.tick = [&] {
      show();
      return in_time();
    };
    show();
    streams_ = events_.read(callbacks) == EventReader::End::over;
  }

  std::int64_t wait_seconds() const {
    const std::int64_t wait = progress_.live() ? kLiveWaitSeconds : kQuietWaitSeconds;
    if (timeout_.count() == 0) return wait;
    const std::int64_t left = (timeout_ - since(start_)).count();
    return std::clamp<std::int64_t>((left + 999) / 1'000, 0, wait);
  }

  // The server is restarting, or gone. A short absence is part of its life.
  std::optional<Followed> away(const Result<Response>& sent) {
    const MonoTime now = system_clock().monotonic();
    if (!away_since_) away_since_ = now;
    if (now - *away_since_ >= kAwayMax) {
      progress_.clear();
      const int exit = sent ? session_.report(problem_of(sent.value()))
                            : session_.report(sent.error());
      session_.note(come_back());
      return Followed{.exit = exit, .body = {}};
    }
    progress_.show_away();
    Interrupt::pause(kAwayPause);
    return std::nullopt;
  }

  // The newest log message; one page per look is enough, the rest comes with the next.
  std::string last_log() {
    const auto sent = session_.client().send(
        {.path = path() + "/logs?limit=200&after=" + std::to_string(logs_after_)});
    if (!sent || sent.value().status != 200) return last_log_;
    const json page = parse_body(sent.value().body).value_or(json::object());
    if (!has(page, "logs") || !page["logs"].is_array()) return last_log_;
    for (const json& entry : page["logs"]) {
      logs_after_ = std::max(logs_after_, number_of(entry, "n"));
      last_log_ = text_of(entry, "message");
    }
    last_log_ = last_log_.substr(0, last_log_.find('\n'));
    return last_log_;
  }

  std::string come_back() const {
    const std::string id = std::to_string(run_);
    return "The run goes on. Come back with: sequential-runner runs show " + id +
           " --wait   or: sequential-runner logs " + id + " -f";
  }
  Followed leave(const std::string& why) {
    progress_.clear();
    session_.note(why + " " + come_back());
    return {.exit = kExitStillRunning, .body = {}};
  }

  Session& session_;
  const std::int64_t run_;
  const Millis timeout_;
  const MonoTime start_ = system_clock().monotonic();
  std::optional<MonoTime> away_since_;
  std::int64_t logs_after_ = 0;
  std::string last_log_;
  Progress progress_;
  EventReader events_{session_, run_};
  bool streams_ = progress_.live();  // with nobody looking, one request at a time is cheaper
};

std::string summary(const json& record) {
  std::string text = "run " + std::to_string(number_of(record, "id")) + " " +
                     text_of(record, "status");
  const std::int64_t ms = ms_between(text_of(record, "created_at"), text_of(record, "ended_at"));
  if (ms >= 0) text += " in " + show_duration_ms(ms);
  const std::int64_t calls = number_of(record, "calls");
  return text + ", " + grouped(calls) + (calls == 1 ? " call" : " calls");
}

// What the task threw: its stack, which begins with name and message, or those two.
std::string error_text(const json& error) {
  const std::string stack = text_of(error, "stack");
  if (!stack.empty()) return stack;
  const std::string name = text_of(error, "name"), message = text_of(error, "message");
  if (name.empty() && message.empty()) return pretty(error);
  return name.empty() ? message : name + ": " + message;
}

}  // namespace

std::string show_progress(const json& progress, int bar_columns) {
  const auto amount = [&progress](const char* key) {
    return progress.is_object() && progress.contains(key) && progress[key].is_number()
               ? std::optional(progress[key].get<double>())
               : std::nullopt;
  };
  const auto text = [](double value) {
    char digits[40];
    const bool whole = std::abs(value) < 1e15 && value == std::floor(value);
    if (whole) return grouped(static_cast<std::int64_t>(value));
    std::snprintf(digits, sizeof digits, "%g", value);
    return std::string(digits);
  };
  const auto done = amount("done"), total = amount("total");
  if (!done) return "";
  std::string out;
  if (total && *total > 0) {
    const double part = std::clamp(*done / *total, 0.0, 1.0);
    const int filled = static_cast<int>(part * bar_columns);
    if (bar_columns > 0) {
      out = "[" + std::string(static_cast<std::size_t>(filled), '#') +
            std::string(static_cast<std::size_t>(bar_columns - filled), '.') + "] ";
    }
    out += std::to_string(static_cast<int>(part * 100)) + "% ";
  }
  out += text(*done) + (total ? "/" + text(*total) : "");
  const std::string message = text_of(progress, "message");
  return message.empty() ? out : out + " " + message.substr(0, message.find('\n'));
}

bool is_settled(const std::string& status) {
  return status == "completed" || status == "failed" || status == "cancelled" ||
         status == "paused";
}

std::string after_pause(const json& run) {
  const std::string path = "POST /runs/" + text_of(run, "id");
  const std::string reason = text_of(run, "pause_reason");
  return path + "/resume lets it go on, " + path + "/cancel ends it" +
         (reason == "operator" ? "" : "; GET /errors/" + reason + " says more");
}

Followed follow_run(Session& session, std::int64_t run, Millis timeout, const Interrupt&) {
  return Follower(session, run, timeout).follow();
}

int print_end(const Session& session, const std::string& body) {
  const json record = parse_body(body).value_or(json::object());
  const std::string status = text_of(record, "status");
  if (session.json()) {
    session.print_json(body);
    return status == "completed" ? kExitOk : kExitRunFailed;
  }
  session.note(paint(session.err(), status_colour(status), harmless(summary(record))));
  if (status == "completed") {
    const std::string result = pretty(json_member(body, "result"));
    session.print((session.out().is_terminal ? harmless(result) : result) + "\n");
    return kExitOk;
  }
  if (has(record, "error")) session.note(harmless(error_text(record["error"])));
  if (status == "paused") {
    session.note("paused: " + harmless(text_of(record, "pause_reason")));
    if (has(record, "pause_detail")) session.note(harmless(pretty(record["pause_detail"])));
    session.note(paint(session.err(), Colour::dim, harmless(after_pause(record))));
  }
  return kExitRunFailed;
}

std::string log_line(const Terminal& terminal, const std::string& at, const std::string& level,
                     const std::string& message) {
  const std::string time = show_time(at);
  const Colour colour = level == "error"  ? Colour::red
                        : level == "warn" ? Colour::yellow
                                          : Colour::none;
  std::string padded = harmless(level);
  padded.resize(std::max<std::size_t>(padded.size(), 5), ' ');
  return paint(terminal, Colour::dim, time.substr(std::min<std::size_t>(time.size(), 11))) + " " +
         paint(terminal, colour, padded) + " " + harmless(message);
}

}  // namespace sequential::cli
