#include "events.h"

#include "interrupt.h"

namespace sequential::cli {
namespace {

constexpr Millis kSilenceMax{60'000};               // a living stream says something every 15 s
constexpr std::size_t kLineBytesMax = 1 << 20;      // an end with its result, and more
constexpr Millis kStreamMax{24ll * 3'600 * 1'000};  // then it is asked for anew

// The value of "name: value", if that is the name.
bool is_field(std::string_view line, std::string_view name, std::string_view& value) {
  if (!line.starts_with(name) || line.size() <= name.size() || line[name.size()] != ':') {
    return false;
  }
  value = line.substr(name.size() + 1);
  if (value.starts_with(' ')) value.remove_prefix(1);
  return true;
}

}  // namespace

void EventReader::after(std::int64_t log) {
  // "log.state.status", and what was seen of calls behind it.
  std::size_t behind = 0;
  for (int dots = 0; dots < 3 && behind != std::string::npos; ++dots) {
    behind = seen_.find('.', behind + 1);
  }
  const std::string calls = behind == std::string::npos ? "" : ".0.0" + seen_.substr(behind);
  seen_ = std::to_string(log) + calls;
}

EventReader::End EventReader::read(const Callbacks& callbacks) {
  rest_.clear();
  name_.clear();
  data_.clear();
  id_.clear();
  heard_ = false;
  Request request;
  request.path = "/runs/" + std::to_string(run_) + "/events" +
                 (calls_ ? "?calls=1" : "");
  request.headers = {{"Accept", "text/event-stream"}};
  if (!seen_.empty()) request.headers.emplace_back("Last-Event-ID", seen_);
  request.timeout = kStreamMax;
  request.silence_max = kSilenceMax;
  request.on_piece = [&](std::string_view piece) { return take(piece, callbacks); };
  request.on_tick = callbacks.tick;
  const auto sent = session_.client().send(request);
  if (!sent) return End::over;
  const int status = sent.value().status;
  // What says nothing of a stream's is something else that answers there.
  return status == 204 || (status == 200 && heard_) ? End::over : End::not_offered;
}

bool EventReader::take(std::string_view piece, const Callbacks& callbacks) {
  rest_ += piece;
  std::size_t from = 0;
  for (std::size_t end; (end = rest_.find('\n', from)) != std::string::npos; from = end + 1) {
    std::string_view line(rest_.data() + from, end - from);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!take_line(line, callbacks)) return false;
  }
  rest_.erase(0, from);
  return rest_.size() <= kLineBytesMax;
}

bool EventReader::take_line(std::string_view line, const Callbacks& callbacks) {
  std::string_view value;
  heard_ = heard_ || line.starts_with(':') || line.starts_with("event:");
  if (is_field(line, "event", value)) {
    name_ = value;
  } else if (is_field(line, "id", value)) {
    id_ = value;
  } else if (is_field(line, "data", value)) {
    if (!data_.empty()) data_ += '\n';
    data_ += value;
  } else if (line.empty() && !name_.empty()) {
    if (!id_.empty()) seen_ = id_;
    const bool go_on = callbacks.event(name_, data_);
    name_.clear();
    data_.clear();
    return go_on;
  }
  return data_.size() <= kLineBytesMax;
}

}  // namespace sequential::cli
