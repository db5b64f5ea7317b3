#include "control.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

#include "text.h"

namespace sequential::engine::v8host {
namespace {
// 0 is V8's debugger, 1 is used by other embedders.
constexpr int kSlot = 2;

v8::Local<v8::Value> number(v8::Isolate* isolate, std::int64_t value) {
  return v8::Number::New(isolate, static_cast<double>(value));
}
}  // namespace

void Control::store(v8::Local<v8::Context> context, v8::Local<v8::Object> control) {
  context->SetEmbedderData(kSlot, control);
}

Control::Control(v8::Local<v8::Context> context)
    : isolate_(context->GetIsolate()),
      context_(context),
      object_(context->GetEmbedderData(kSlot).As<v8::Object>()) {}

v8::MaybeLocal<v8::Value> Control::invoke(const char* name, int argc,
                                          v8::Local<v8::Value>* argv) const {
  v8::Local<v8::Value> function;
  if (!object_->Get(context_, literal(isolate_, name)).ToLocal(&function)) return {};
  return function.As<v8::Function>()->Call(context_, v8::Undefined(isolate_), argc, argv);
}

bool Control::thaw() const { return !invoke("thaw", 0, nullptr).IsEmpty(); }
bool Control::freeze() const { return !invoke("freeze", 0, nullptr).IsEmpty(); }
bool Control::reset() const { return !invoke("reset", 0, nullptr).IsEmpty(); }

bool Control::begin(const Run& run) const {
  std::array<std::int32_t, 4> seed{};
  std::memcpy(seed.data(), run.seed.data(), std::min(run.seed.size(), sizeof seed));
  v8::Local<v8::String> name;
  if (!to_v8(isolate_, run.name).ToLocal(&name)) return false;
  std::array<v8::Local<v8::Value>, 14> argv = {v8::Integer::New(isolate_, seed[0]),
                                               v8::Integer::New(isolate_, seed[1]),
                                               v8::Integer::New(isolate_, seed[2]),
                                               v8::Integer::New(isolate_, seed[3]),
                                               number(isolate_, run.started_at_ms),
                                               number(isolate_, run.id),
                                               name,
                                               number(isolate_, run.version),
                                               number(isolate_, run.limits.calls_in_flight),
                                               number(isolate_, run.limits.log_entries_per_slice),
                                               number(isolate_, run.limits.log_message_bytes),
                                               number(isolate_, run.limits.attributes),
                                               number(isolate_, run.limits.attribute_chars),
                                               number(isolate_, run.limits.attributes_chars)};
  return !invoke("begin", static_cast<int>(argv.size()), argv.data()).IsEmpty();
}

bool Control::start(v8::Local<v8::Function> task, v8::Local<v8::Value> input) const {
  std::array<v8::Local<v8::Value>, 2> argv = {task, input};
  return !invoke("start", static_cast<int>(argv.size()), argv.data()).IsEmpty();
}

Control::Settled Control::settle(std::int64_t seq, bool failed, v8::Local<v8::Value> value,
                                 std::int64_t at_ms) const {
  std::array<v8::Local<v8::Value>, 4> argv = {
      number(isolate_, seq), v8::Boolean::New(isolate_, failed), value, number(isolate_, at_ms)};
  v8::Local<v8::Value> known;
  if (!invoke("settle", static_cast<int>(argv.size()), argv.data()).ToLocal(&known)) {
    return Settled::no;
  }
  return known->IsTrue() ? Settled::yes : Settled::unknown_call;
}

bool Control::fail(v8::Local<v8::Value> error) const {
  return !invoke("fail", 1, &error).IsEmpty();
}

bool Control::unhandled(v8::Local<v8::Value> reason) const {
  return !invoke("unhandled", 1, &reason).IsEmpty();
}

bool Control::end_cancelled() const {
  v8::Local<v8::Value> ended;
  return invoke("endCancelled", 0, nullptr).ToLocal(&ended) && ended->IsTrue();
}

std::int64_t Control::pending() const {
  v8::Local<v8::Value> count;
  if (!invoke("pending", 0, nullptr).ToLocal(&count)) return 0;
  return static_cast<std::int64_t>(count.As<v8::Number>()->Value());
}

v8::Local<v8::Object> Control::error_class() const {
  return object_->Get(context_, literal(isolate_, "Error")).ToLocalChecked().As<v8::Object>();
}

}  // namespace sequential::engine::v8host
