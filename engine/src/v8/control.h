#pragma once
// Control: the bootstrap's control object of one context (90_control.js), kept in a context slot
// that scripts cannot reach. Its functions run task code.
//
// Each call returns false (or empty) if it ended in an exception or a termination; then the caller
// looks at its TryCatch.

#include <v8.h>

#include <cstdint>
#include <string>

#include "sequential/engine/limits.h"

namespace sequential::engine::v8host {

class Control {
 public:
  static void store(v8::Local<v8::Context> context, v8::Local<v8::Object> control);

  explicit Control(v8::Local<v8::Context> context);

  struct Run {
    std::int64_t id = 0;
    std::string name;
    std::int64_t version = 0;
    std::string seed;  // 16 bytes
    std::int64_t started_at_ms = 0;
    Limits limits;
  };

  bool thaw() const;
  bool freeze() const;
  bool reset() const;
  bool begin(const Run& run) const;
  bool start(v8::Local<v8::Function> task, v8::Local<v8::Value> input) const;
  enum class Settled { no, unknown_call, yes };
  Settled settle(std::int64_t seq, bool failed, v8::Local<v8::Value> value,
                 std::int64_t at_ms) const;
  bool fail(v8::Local<v8::Value> error) const;
  bool unhandled(v8::Local<v8::Value> reason) const;
  // Ends a run that was asked to end and waits for nothing. False: it was not asked.
  bool end_cancelled() const;
  // Calls in flight.
  std::int64_t pending() const;
  // The language's own Error, whatever the task did to the global of that name.
  v8::Local<v8::Object> error_class() const;

 private:
  v8::MaybeLocal<v8::Value> invoke(const char* name, int argc, v8::Local<v8::Value>* argv) const;

  v8::Isolate* isolate_;
  v8::Local<v8::Context> context_;
  v8::Local<v8::Object> object_;
};

}  // namespace sequential::engine::v8host
