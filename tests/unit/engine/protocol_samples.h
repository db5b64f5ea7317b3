#pragma once
// Random and sample messages of the engine protocol.

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "sequential/engine/protocol.h"

namespace sequential::engine::protocol {

class Samples {
 public:
  explicit Samples(std::uint32_t seed) : random_(seed) {}

  ToEngine to_engine() {
    switch (number(5)) {
      case 0:
        return Hello{.version = static_cast<std::uint32_t>(integer()),
                     .limits = limits(),
                     .warm_bytes_max = integer(),
                     .warm_runs_max = integer(),
                     .runs_per_isolate = integer(),
                     .jit = flag()};
      case 1:
        return begin();
      case 2:
        return Journal{.run = integer(),
                       .rows = list<JournalRow>([this] { return row(); }),
                       .more = flag(),
                       .abandoned = flag()};
      case 3:
        return Check{.name = text(), .code = text()};
      default:
        return Forget{.run = integer()};
    }
  }
  FromEngine from_engine() {
    switch (number(6)) {
      case 0:
        return Ready{.version = static_cast<std::uint32_t>(integer()),
                     .v8_version = text(),
                     .base_blob_bytes = integer(),
                     .base_from_file = flag()};
      case 1:
        return slice_done();
      case 2:
        return Checked{.ok = flag(),
                       .message = text(),
                       .line = integer(),
                       .column = integer(),
                       .source = text()};
      case 3:
        return Evicted{.runs = list<std::int64_t>([this] { return integer(); })};
      case 4:
        return Progress{.run = integer(), .delivered = integer()};
      default:
        return Dying{.run = integer(), .alone = flag(), .limit = text()};
    }
  }

 private:
  std::uint32_t number(std::uint32_t below) {
    return static_cast<std::uint32_t>(random_() % below);
  }
  bool flag() { return number(2) == 1; }
  std::int64_t integer() {
    const auto value = static_cast<std::int64_t>(random_());
    return number(2) == 0 ? value : value % 100;
  }
  std::string text() {
    std::string value(number(4) == 0 ? number(300) : number(8), '\0');
    for (char& c : value) c = static_cast<char>(number(256));
    return value;
  }
  template <class T, class Make>
  std::vector<T> list(Make make) {
    std::vector<T> items;
    for (std::uint32_t left = number(6); left > 0; --left) items.push_back(make());
    return items;
  }
  template <class T>
  std::optional<T> maybe(T value) {
    if (flag()) return std::nullopt;
    return value;
  }
  Limits limits() {
    return {.heap_bytes = integer(),
            .buffer_bytes = integer(),
            .cpu_ms = integer(),
            .wall_ms = integer(),
            .hard_kill_ms = integer(),
            .calls_in_flight = integer(),
            .payload_bytes = integer(),
            .log_entries_per_slice = integer(),
            .log_message_bytes = integer(),
            .status_bytes = integer(),
            .attributes = integer(),
            .attribute_chars = integer(),
            .attributes_chars = integer(),
            .frame_bytes = integer()};
  }
  OutcomeFrame outcome() {
    return {.seq = integer(),
            .delivered_as = integer(),
            .failed = flag(),
            .payload = text(),
            .at_ms = integer()};
  }
  JournalRow row() {
    return {.seq = integer(),
            .service = text(),
            .method = text(),
            .args_hash_high = random_(),
            .args_hash_low = random_(),
            .outcome = maybe(outcome())};
  }
  Begin begin() {
    return {.run = integer(),
            .function_id = integer(),
            .cold = flag(),
            .alone = flag(),
            .delivered_from = integer(),
            .delivered_through = integer(),
            .calls_recorded = integer(),
            .logs_recorded = integer(),
            .outcomes = list<OutcomeFrame>([this] { return outcome(); }),
            .name = text(),
            .version = integer(),
            .code = maybe(text()),
            .input = text(),
            .seed = text(),
            .started_at_ms = integer()};
  }
  SliceDone slice_done() {
    SliceDone done;
    done.run = integer();
    done.status = static_cast<SliceDoneStatus>(number(6));
    done.payload = text();
    done.dropped = list<DroppedFrame>([this] { return DroppedFrame{integer()}; });
    done.calls = list<CallFrame>([this] {
      return CallFrame{.seq = integer(),
                       .service = text(),
                       .method = text(),
                       .args = text(),
                       .options = text(),
                       .source_line = integer()};
    });
    done.logs = list<LogFrame>([this] { return LogFrame{.level = text(), .message = text()}; });
    done.replayed = flag();
    done.warm = flag();
    done.retry_alone = flag();
    done.resume_us = integer();
    done.cpu_us = integer();
    done.heap_bytes = integer();
    return done;
  }

  std::mt19937_64 random_;
};

}  // namespace sequential::engine::protocol
