#pragma once
// GET /runs/{id}/events: what happens to a run, as it happens.
//
// Blocking: `read`, until the stream ends or breaks, or a callback ends it.

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "session.h"

namespace sequential::cli {

class EventReader {
 public:
  // `calls`: with the run's calls.
  EventReader(Session& session, std::int64_t run, bool calls = false)
      : session_(session), run_(run), calls_(calls) {}

  struct Callbacks {
    // The event's name and data; false: enough.
    std::function<bool(const std::string& name, const std::string& data)> event;
    std::function<bool()> tick;  // about once a second; false: enough
  };
  enum class End {
    over,         // the stream ended, broke, or a callback had enough: reading again goes on there
    not_offered,  // this server has none, or none for us
  };
  End read(const Callbacks& callbacks);

  // From the next read on: after this log entry, whatever was read of the run's state.
  void after(std::int64_t log);

 private:
  bool take(std::string_view piece, const Callbacks& callbacks);
  bool take_line(std::string_view line, const Callbacks& callbacks);

  Session& session_;
  const std::int64_t run_;
  const bool calls_;
  std::string seen_;  // the newest id
  std::string rest_;  // of a line whose end has not come
  std::string name_, data_, id_;
  bool heard_ = false;  // something that only a stream says
};

}  // namespace sequential::cli
