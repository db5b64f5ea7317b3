#include "validate.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sequential/base/json_text.h"

namespace sequential::engine::pool {
namespace {

using protocol::SliceDoneStatus;

// A divergence shows both sides of a call, so it may be larger than any one payload.
constexpr std::int64_t kDivergencePayloads = 2;
constexpr std::int64_t kDivergenceSlackBytes = 64 << 10;
constexpr std::int64_t kTimeUsMax = 24ll * 3'600 * 1'000'000;  // for a number that is only shown

constexpr std::string_view kStatusLevel = "status", kProgressLevel = "progress";

Error violation(std::string what) { return make_error(Errc::corrupt, std::move(what)); }

// The first character of a text that is valid JSON, after white space.
char json_first(std::string_view text) {
  const std::size_t at = text.find_first_not_of(" \t\n\r");
  return at == std::string_view::npos ? '\0' : text[at];
}

Result<void> check_payload(std::string_view text, std::int64_t bytes_max, const char* what) {
  if (static_cast<std::int64_t>(text.size()) > bytes_max) {
    return violation(std::string(what) + " of " + std::to_string(text.size()) +
                     " bytes, over limits.payload_bytes");
  }
  const auto valid = check_json(text);
  if (valid.has_error()) {
    return violation(std::string(what) + " is not JSON: " + valid.error().message);
  }
  return success();
}

Result<void> check_payload_of(std::string_view text, char first, std::int64_t bytes_max,
                              const char* what) {
  SEQUENTIAL_TRY(check_payload(text, bytes_max, what));
  if (json_first(text) != first) return violation(std::string(what) + " is of the wrong JSON type");
  return success();
}

Result<void> check_name(std::string_view name, const char* what) {
  if (name.size() > protocol::kNameBytesMax) return violation(std::string(what) + " is too long");
  if (!is_valid_utf8(name)) return violation(std::string(what) + " is not UTF-8");
  return success();
}

Result<void> check_call(const protocol::CallFrame& call, std::int64_t seq, const Limits& limits) {
  if (call.seq != seq) {
    return violation("call " + std::to_string(call.seq) + " where " + std::to_string(seq) +
                     " is due");
  }
  SEQUENTIAL_TRY(check_name(call.service, "a service name"));
  SEQUENTIAL_TRY(check_name(call.method, "a method name"));
  SEQUENTIAL_TRY(check_payload_of(call.args, '[', limits.payload_bytes, "args"));
  if (!call.options.empty()) {
    SEQUENTIAL_TRY(check_payload_of(call.options, '{', limits.payload_bytes, "options"));
  }
  if (call.source_line < 0 || call.source_line > std::numeric_limits<int>::max()) {
    return violation("a source line out of range");
  }
  return success();
}

Result<void> check_log(const protocol::LogFrame& log, const Limits& limits) {
  const auto level_byte = [](char c) { return c >= 'a' && c <= 'z'; };
  if (log.level.empty() || log.level.size() > protocol::kLogLevelBytesMax ||
      !std::all_of(log.level.begin(), log.level.end(), level_byte)) {
    return violation("a log level that is none");
  }
  const std::size_t message_max =
      static_cast<std::size_t>(limits.log_message_bytes) + protocol::kLogMessageSlackBytes;
  if (log.message.size() > message_max) return violation("a log message over its limit");
  if (!is_valid_utf8(log.message)) return violation("a log message that is not UTF-8");
  return success();
}

// Of a run's status or progress, which are JSON texts and have levels of their own.
Result<void> check_state(const protocol::LogFrame& state, const Limits& limits) {
  const std::string_view text = state.message;
  if (static_cast<std::int64_t>(text.size()) > limits.status_bytes) {
    return violation("a " + state.level + " over limits.status_bytes");
  }
  if (const auto valid = check_json(text); valid.has_error()) {
    return violation("a " + state.level + " that is not JSON: " + valid.error().message);
  }
  if (state.level == kProgressLevel && json_first(text) != '{') {
    return violation("a progress that is no object");
  }
  return success();
}

// The log entries, and at most one status and one progress after them.
Result<std::vector<IssuedLog>> to_logs(std::vector<protocol::LogFrame>&& frames,
                                       const Limits& limits) {
  std::vector<IssuedLog> logs;
  logs.reserve(frames.size());
  std::int64_t entries = 0, statuses = 0, progresses = 0;
  for (protocol::LogFrame& frame : frames) {
    if (frame.level == kStatusLevel || frame.level == kProgressLevel) {
      if (++(frame.level == kStatusLevel ? statuses : progresses) > 1) {
        return violation("more than one " + frame.level);
      }
      SEQUENTIAL_TRY(check_state(frame, limits));
    } else {
      if (++entries > limits.log_entries_per_slice + 1) {
        return violation("more log entries than limits.log_entries_per_slice");
      }
      SEQUENTIAL_TRY(check_log(frame, limits));
    }
    logs.push_back({.level = std::move(frame.level), .message = std::move(frame.message)});
  }
  return logs;
}

Result<void> check_status(const protocol::SliceDone& done, const Limits& limits) {
  if (done.warm && done.status != SliceDoneStatus::suspended) {
    return violation("a context kept warm after its end");
  }
  switch (done.status) {
    case SliceDoneStatus::suspended:
      return done.payload.empty() ? Result<void>(success())
                                  : violation("a suspended slice with a payload");
    case SliceDoneStatus::completed:
      return check_payload(done.payload, limits.payload_bytes, "a result");
    case SliceDoneStatus::failed:
    case SliceDoneStatus::cancelled:
      return check_payload_of(done.payload, '{', limits.payload_bytes, "an error");
    case SliceDoneStatus::divergent:
      if (!done.calls.empty()) return violation("a divergent slice with new calls");
      return check_payload_of(done.payload, '{',
                              kDivergencePayloads * limits.payload_bytes + kDivergenceSlackBytes,
                              "a divergence");
    case SliceDoneStatus::not_warm:
      break;
  }
  return violation("an answer without a result");
}

// `calls`: how many the run has issued.
Result<std::vector<std::int64_t>> dropped_calls(const protocol::SliceDone& done,
                                                std::int64_t calls) {
  if (done.status == SliceDoneStatus::divergent && !done.dropped.empty()) {
    return violation("a divergent slice that drops calls");
  }
  std::vector<std::int64_t> dropped;
  dropped.reserve(done.dropped.size());
  std::int64_t last = 0;
  for (const auto& [seq] : done.dropped) {
    if (seq <= last || seq > calls) return violation("a dropped call that was not issued");
    dropped.push_back(last = seq);
  }
  return dropped;
}

SliceStatus to_status(SliceDoneStatus status) {
  switch (status) {
    case SliceDoneStatus::suspended:
      return SliceStatus::suspended;
    case SliceDoneStatus::completed:
      return SliceStatus::completed;
    case SliceDoneStatus::failed:
      return SliceStatus::failed;
    case SliceDoneStatus::cancelled:
      return SliceStatus::cancelled;
    case SliceDoneStatus::divergent:
    case SliceDoneStatus::not_warm:  // refused by check_status
      break;
  }
  return SliceStatus::divergent;
}

std::int64_t shown_time(std::int64_t us) { return std::clamp<std::int64_t>(us, 0, kTimeUsMax); }

}  // namespace

Result<SliceResult> to_slice_result(protocol::SliceDone&& done, std::int64_t calls_recorded,
                                    const Limits& limits) {
  SEQUENTIAL_TRY(check_status(done, limits));
  if (static_cast<std::int64_t>(done.calls.size()) > limits.calls_in_flight) {
    return violation("more calls than limits.calls_in_flight");
  }
  if (static_cast<std::int64_t>(done.dropped.size()) > limits.calls_in_flight) {
    return violation("more dropped calls than limits.calls_in_flight");
  }

  SliceResult result;
  result.status = to_status(done.status);
  result.payload = std::move(done.payload);
  result.replayed = done.replayed;
  result.resume_us = shown_time(done.resume_us);
  result.cpu_us = shown_time(done.cpu_us);
  result.calls.reserve(done.calls.size());
  std::int64_t seq = calls_recorded;
  for (protocol::CallFrame& call : done.calls) {
    SEQUENTIAL_TRY(check_call(call, ++seq, limits));
    result.calls.push_back({.seq = call.seq,
                            .service = std::move(call.service),
                            .method = std::move(call.method),
                            .args = std::move(call.args),
                            .options = std::move(call.options),
                            .source_line = static_cast<int>(call.source_line)});
  }
  SEQUENTIAL_TRY(result.logs, to_logs(std::move(done.logs), limits));
  SEQUENTIAL_TRY(result.dropped, dropped_calls(done, seq));
  return result;
}

Result<std::optional<CodeProblem>> to_code_problem(protocol::Checked&& checked,
                                                   const Limits& limits) {
  if (checked.ok) return std::optional<CodeProblem>{};
  if (static_cast<std::int64_t>(checked.message.size()) > limits.payload_bytes ||
      !is_valid_utf8(checked.message)) {
    return violation("a code problem that is too long or not UTF-8");
  }
  if (checked.source.size() > protocol::kSourceNameBytesMax || !is_valid_utf8(checked.source)) {
    return violation("a name of a source that is too long or not UTF-8");
  }
  constexpr std::int64_t kPositionMax = std::numeric_limits<int>::max();
  if (checked.line < 0 || checked.line > kPositionMax || checked.column < 0 ||
      checked.column > kPositionMax) {
    return violation("a code position out of range");
  }
  return std::optional(CodeProblem{.message = std::move(checked.message),
                                   .line = static_cast<int>(checked.line),
                                   .column = static_cast<int>(checked.column),
                                   .source = std::move(checked.source)});
}

}  // namespace sequential::engine::pool
