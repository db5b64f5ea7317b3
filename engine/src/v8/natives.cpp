#include "natives.h"

#include <array>
#include <cstddef>
#include <utility>

#include "bootstrap.h"
#include "native_bytes.h"
#include "native_clone.h"
#include "native_kinds.h"
#include "sequential/base/json_text.h"
#include "text.h"

namespace sequential::engine::v8host {
namespace {

using Info = v8::FunctionCallbackInfo<v8::Value>;

// What `call` answers (40_calls.js has the same list).
enum CallAnswer { kIssued = 0, kTooLarge = 1, kTooDeep = 2, kNameTooLong = 3 };

// All calls and logs of one slice travel in one frame; this much is left for the rest of it.
constexpr std::int64_t kFrameReserveBytes = 1 << 20;
constexpr std::size_t kCallOverheadBytes = 64;

// The first line in the task's code of a trace that captureStackTrace took; 0 if there is none. Of
// bundled code, the first that is the author's: a line of a package, without the package's name,
// would only mislead.
int source_line(v8::Isolate* isolate, v8::Local<v8::Value> site, int script_id) {
  // Taken together with the trace that the error will show: a second walk of the stack would cost
  // as much as all the rest of a call.
  const auto trace = v8::Exception::GetStackTrace(site);
  const int count = trace.IsEmpty() ? 0 : trace->GetFrameCount();
  const auto& map = host_of(isolate).source_map;
  int unmapped = 0;
  for (int i = 0; i < count; ++i) {
    const auto frame = trace->GetFrame(isolate, static_cast<std::uint32_t>(i));
    if (frame->GetScriptId() != script_id) continue;
    const int line = frame->GetLineNumber();
    if (map == nullptr) return line;
    const auto at = map->find(line, frame->GetColumn());
    if (at && is_of_the_author(at->source)) return at->line;
    if (!at && unmapped == 0) unmapped = line;
  }
  return unmapped;
}

void stop_slice(v8::Isolate* isolate, Effects& effects, std::string code) {
  if (effects.stop_code.empty()) effects.stop_code = std::move(code);
  isolate->TerminateExecution();
}

void issue_call(v8::Isolate* isolate, Effects& effects, protocol::CallFrame call,
                v8::Local<v8::Value> site) {
  effects.mark_first_effect();
  // Those that were dropped at once are not in flight, but they too must be stored.
  if (static_cast<std::int64_t>(effects.calls.size()) == effects.limits.calls_in_flight) {
    stop_slice(isolate, effects, "calls_limit");
    return;
  }
  effects.bytes += call.service.size() + call.method.size() + call.args.size() +
                   call.options.size() + kCallOverheadBytes;
  const auto bytes_max =
      effects.limits.frame_bytes - effects.limits.payload_bytes - kFrameReserveBytes;
  if (static_cast<std::int64_t>(effects.bytes) > bytes_max) {
    stop_slice(isolate, effects, "payload_too_large");
    return;
  }
  call.source_line = source_line(isolate, site, effects.script_id);
  effects.calls.push_back(std::move(call));
}

// call(seq, service, method, args, options, site) → CallAnswer
void call(const Info& info) {
  v8::Isolate* const isolate = info.GetIsolate();
  Effects* const effects = host_of(isolate).effects;
  info.GetReturnValue().Set(static_cast<int>(kIssued));
  if (effects == nullptr) return;
  const auto payload_max = effects->limits.payload_bytes;
  protocol::CallFrame call;
  call.seq = static_cast<std::int64_t>(info[0].As<v8::Number>()->Value());
  const auto args = info[3].As<v8::String>();
  const auto options = info[4].As<v8::String>();
  if (args->Length() > payload_max || options->Length() > payload_max) {
    info.GetReturnValue().Set(static_cast<int>(kTooLarge));
    return;
  }
  call.service = to_utf8(isolate, info[1].As<v8::String>());
  call.method = to_utf8(isolate, info[2].As<v8::String>());
  call.args = to_utf8(isolate, args);
  call.options = to_utf8(isolate, options);
  if (static_cast<std::int64_t>(call.args.size()) > payload_max ||
      static_cast<std::int64_t>(call.options.size()) > payload_max) {
    info.GetReturnValue().Set(static_cast<int>(kTooLarge));
    return;
  }
  if (json_deeper_than(call.args, kJsonDepthMax) || json_deeper_than(call.options, kJsonDepthMax)) {
    info.GetReturnValue().Set(static_cast<int>(kTooDeep));
    return;
  }
  if (call.service.size() > protocol::kNameBytesMax ||
      call.method.size() > protocol::kNameBytesMax) {
    info.GetReturnValue().Set(static_cast<int>(kNameTooLong));
    return;
  }
  effects->calls_emitted = call.seq;
  if (call.seq <= effects->calls_recorded) {
    effects->matcher.replayed(call.seq, call.service, call.method, call.args);
    return;
  }
  issue_call(isolate, *effects, std::move(call), info[5]);
}

// log(number, level, message)
void log(const Info& info) {
  v8::Isolate* const isolate = info.GetIsolate();
  Effects* const effects = host_of(isolate).effects;
  if (effects == nullptr) return;
  const auto number = static_cast<std::int64_t>(info[0].As<v8::Number>()->Value());
  if (number <= effects->logs_recorded) return;
  // The bootstrap limits one turn; a slice of several turns can have more than it may send.
  if (static_cast<std::int64_t>(effects->logs.size()) > effects->limits.log_entries_per_slice) {
    effects->logs_dropped = true;
    return;
  }
  effects->mark_first_effect();
  protocol::LogFrame entry;
  entry.level = to_utf8(isolate, info[1].As<v8::String>());
  bool cut = false;
  entry.message = to_utf8_clipped(isolate, info[2].As<v8::String>(),
                                  static_cast<std::size_t>(effects->limits.log_message_bytes), cut);
  if (cut) entry.message += " … (cut at limits.log_message_bytes)";
  effects->bytes += entry.message.size();
  effects->logs.push_back(std::move(entry));
}

// drop(seq): nobody waits for this call any more
void drop(const Info& info) {
  Effects* const effects = host_of(info.GetIsolate()).effects;
  if (effects == nullptr) return;
  const auto seq = static_cast<std::int64_t>(info[0].As<v8::Number>()->Value());
  effects->dropped.emplace(seq, effects->drops++);
}

// show(which, text) → CallAnswer; which: 0 the status, 1 the progress
void show(const Info& info) {
  v8::Isolate* const isolate = info.GetIsolate();
  Effects* const effects = host_of(isolate).effects;
  info.GetReturnValue().Set(static_cast<int>(kIssued));
  if (effects == nullptr) return;
  const auto given = info[1].As<v8::String>();
  const bool fits = given->Length() <= effects->limits.status_bytes;
  std::string text = fits ? to_utf8(isolate, given) : std::string();
  if (!fits || static_cast<std::int64_t>(text.size()) > effects->limits.status_bytes) {
    info.GetReturnValue().Set(static_cast<int>(kTooLarge));
  } else if (json_deeper_than(text, kJsonDepthMax)) {
    info.GetReturnValue().Set(static_cast<int>(kTooDeep));
  } else {
    (info[0]->Int32Value(isolate->GetCurrentContext()).FromMaybe(0) == 0 ? effects->status
                                                                         : effects->progress) =
        std::move(text);
  }
}

// done(succeeded, payload, cancelled)
void done(const Info& info) {
  v8::Isolate* const isolate = info.GetIsolate();
  Effects* const effects = host_of(isolate).effects;
  if (effects == nullptr || effects->ended) return;
  effects->ended = true;
  effects->succeeded = info[0]->IsTrue();
  effects->cancelled = info[2]->IsTrue();
  const auto text = info[1].As<v8::String>();
  // A text over the limit is not copied: that it is over is all that matters.
  if (text->Length() > effects->limits.payload_bytes) {
    bool cut = false;
    effects->payload = to_utf8_clipped(
        isolate, text, static_cast<std::size_t>(effects->limits.payload_bytes) + 1, cut);
    return;
  }
  effects->payload = to_utf8(isolate, text);
}

// limit(code): the run has reached a limit and ends here.
void limit(const Info& info) {
  v8::Isolate* const isolate = info.GetIsolate();
  Effects* const effects = host_of(isolate).effects;
  if (effects == nullptr) return;
  stop_slice(isolate, *effects, to_utf8(isolate, info[0].As<v8::String>()));
}

// enqueueMicrotask(function)
void enqueue_microtask(const Info& info) {
  info.GetIsolate()->EnqueueMicrotask(info[0].As<v8::Function>());
}

// The bundled URL library: kept out of the snapshot, for it is larger than all the rest.
class StaticText final : public v8::String::ExternalOneByteStringResource {
 public:
  explicit StaticText(std::string_view text) : text_(text) {}
  const char* data() const override { return text_.data(); }
  std::size_t length() const override { return text_.size(); }

 private:
  std::string_view text_;
};

// What the library's source evaluates to. `script` keeps it compiled.
void library(const Info& info, v8::Global<v8::UnboundScript>& script, std::string_view text,
             const char* name) {
  v8::Isolate* const isolate = info.GetIsolate();
  if (script.IsEmpty()) {
    v8::Local<v8::String> source_text;
    auto made = v8::String::NewExternalOneByte(isolate, new StaticText(text));
    if (!made.ToLocal(&source_text)) return;
    const v8::ScriptOrigin origin(isolate, literal(isolate, name));
    v8::ScriptCompiler::Source source(source_text, origin);
    v8::Local<v8::UnboundScript> compiled;
    if (!v8::ScriptCompiler::CompileUnboundScript(isolate, &source).ToLocal(&compiled)) return;
    script.Reset(isolate, compiled);
  }
  v8::Local<v8::Value> result;
  const auto context = isolate->GetCurrentContext();
  if (script.Get(isolate)->BindToCurrentContext()->Run(context).ToLocal(&result)) {
    info.GetReturnValue().Set(result);
  }
}

// urlModule() → function (TextEncoder, TextDecoder) → {URL, URLSearchParams}
void url_module(const Info& info) {
  library(info, host_of(info.GetIsolate()).url_script, url_library_source(), "sequential:url");
}

struct Native {
  const char* name;
  v8::FunctionCallback callback;
};
// Append only.
constexpr std::array kNatives = {
    Native{"call", call},
    Native{"log", log},
    Native{"done", done},
    Native{"limit", limit},
    Native{"enqueueMicrotask", enqueue_microtask},
    Native{"kind", native_kind},
    Native{"promiseState", native_promise_state},
    Native{"boxedValue", native_boxed_value},
    Native{"regExpText", native_regexp_text},
    Native{"utf8Encode", native_utf8_encode},
    Native{"decodeText", native_decode_text},
    Native{"base64Encode", native_base64_encode},
    Native{"base64Decode", native_base64_decode},
    Native{"btoa", native_btoa},
    Native{"atob", native_atob},
    Native{"structuredClone", native_structured_clone},
    Native{"urlModule", url_module},
    Native{"drop", drop},
    Native{"show", show},
};

}  // namespace

const std::intptr_t* external_references() {
  static const auto table = [] {
    std::array<std::intptr_t, kNatives.size() + 1> entries{};
    for (std::size_t i = 0; i < kNatives.size(); ++i) {
      entries[i] = reinterpret_cast<std::intptr_t>(kNatives[i].callback);
    }
    return entries;
  }();
  return table.data();
}

std::string external_reference_names() {
  std::string names;
  for (const Native& native : kNatives) names.append(native.name).append("\n");
  return names;
}

v8::Local<v8::Object> make_natives(v8::Local<v8::Context> context) {
  v8::Isolate* const isolate = context->GetIsolate();
  const auto object = v8::Object::New(isolate);
  object->SetPrototype(context, v8::Null(isolate)).Check();
  for (const Native& native : kNatives) {
    const auto function = v8::FunctionTemplate::New(isolate, native.callback, {}, {}, 0,
                                                    v8::ConstructorBehavior::kThrow)
                              ->GetFunction(context)
                              .ToLocalChecked();
    object->Set(context, literal(isolate, native.name), function).Check();
  }
  return object;
}

}  // namespace sequential::engine::v8host
