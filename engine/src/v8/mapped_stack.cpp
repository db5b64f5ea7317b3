#include "mapped_stack.h"

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include "control.h"
#include "natives.h"
#include "text.h"

namespace sequential::engine::v8host {
namespace {

constexpr std::string_view kFrame = "\n    at ";
constexpr std::string_view kUnprintable = "<error>";

// What failed without being V8's to tell. A termination goes on once the script does.
std::string unprintable(v8::Isolate* isolate, const v8::TryCatch& caught) {
  if (caught.HasTerminated()) isolate->TerminateExecution();
  return std::string(kUnprintable);
}

// As Error.prototype.toString does, whatever the task has put there. nullopt: it threw.
std::optional<std::string> head_of(v8::Local<v8::Context> context, v8::Local<v8::Object> error) {
  v8::Isolate* const isolate = context->GetIsolate();
  const auto text = [&](const char* key, const char* otherwise) -> std::optional<std::string> {
    v8::Local<v8::Value> value;
    v8::Local<v8::String> shown;
    if (!error->Get(context, literal(isolate, key)).ToLocal(&value)) return std::nullopt;
    if (value->IsUndefined()) return otherwise;
    if (!value->ToString(context).ToLocal(&shown)) return std::nullopt;
    return to_utf8(isolate, shown);
  };
  const auto name = text("name", "Error");
  if (!name) return std::nullopt;
  const auto message = text("message", "");
  if (!message) return std::nullopt;
  if (name->empty()) return message;
  return message->empty() ? *name : *name + ": " + *message;
}

std::string shown_head(v8::Local<v8::Context> context, v8::Local<v8::Value> error) {
  v8::Isolate* const isolate = context->GetIsolate();
  v8::TryCatch caught(isolate);
  if (error->IsObject()) {
    if (auto head = head_of(context, error.As<v8::Object>())) return std::move(*head);
  }
  if (!caught.HasTerminated() && caught.HasCaught() && caught.Exception()->IsObject()) {
    const auto instead = caught.Exception().As<v8::Object>();
    caught.Reset();
    if (const auto head = head_of(context, instead)) return "<error: " + *head + ">";
  }
  return unprintable(isolate, caught);
}

// A call site as V8 shows it: through the methods of its prototype, which are read-only.
class Site {
 public:
  Site(v8::Local<v8::Context> context, v8::Local<v8::Object> site)
      : context_(context), isolate_(context->GetIsolate()), site_(site) {}

  // nullopt: a method threw.
  std::optional<std::string> shown(IsolateHost& host) const {
    const auto as_text = ask("toString");
    if (!as_text->IsString()) return std::nullopt;
    std::string text = to_utf8(isolate_, as_text.As<v8::String>());
    if (text_of("getFileName") != host.script_name) return text;
    const int line = number_of("getLineNumber"), column = number_of("getColumnNumber");
    const auto at = host.source_map->find(line, column);
    if (!at) return text;
    const std::string place = text_of("getScriptNameOrSourceURL") + position(line, column);
    const bool enclosed = text.ends_with(place + ")");
    if (!enclosed && !text.ends_with(place)) return text;
    text.resize(text.size() - place.size() - (enclosed ? 1 : 0));
    text.append(at->source).append(position(at->line, at->column)).append(enclosed ? ")" : "");
    return text;
  }

 private:
  static std::string position(int line, int column) {
    return ":" + std::to_string(line) + ":" + std::to_string(column);
  }
  // Undefined if it threw, which the caller's TryCatch keeps.
  v8::Local<v8::Value> ask(const char* method) const {
    v8::Local<v8::Value> function, answer;
    const bool answered =
        site_->Get(context_, literal(isolate_, method)).ToLocal(&function) &&
        function->IsFunction() &&
        function.As<v8::Function>()->Call(context_, site_, 0, nullptr).ToLocal(&answer);
    if (!answered) return v8::Undefined(isolate_);
    return answer;
  }
  std::string text_of(const char* method) const {
    const auto answer = ask(method);
    return answer->IsString() ? to_utf8(isolate_, answer.As<v8::String>()) : std::string();
  }
  int number_of(const char* method) const {
    const auto answer = ask(method);
    return answer->IsInt32() ? answer.As<v8::Int32>()->Value() : 0;
  }

  v8::Local<v8::Context> context_;
  v8::Isolate* isolate_;
  v8::Local<v8::Object> site_;
};

std::string shown_site(v8::Local<v8::Context> context, v8::Local<v8::Array> sites,
                       std::uint32_t index) {
  v8::Isolate* const isolate = context->GetIsolate();
  const v8::HandleScope handles(isolate);
  const v8::TryCatch caught(isolate);
  v8::Local<v8::Value> site;
  if (sites->Get(context, index).ToLocal(&site) && site->IsObject()) {
    if (auto text = Site(context, site.As<v8::Object>()).shown(host_of(isolate))) {
      if (!caught.HasTerminated()) return std::move(*text);
    }
  }
  return unprintable(isolate, caught);
}

// The task's own Error.prepareStackTrace comes first, as it does in V8. It gets V8's call sites:
// their positions are those of the stored code.
std::optional<v8::MaybeLocal<v8::Value>> ask_hook(v8::Local<v8::Context> context,
                                                  v8::Local<v8::Value> error,
                                                  v8::Local<v8::Array> sites) {
  v8::Isolate* const isolate = context->GetIsolate();
  v8::TryCatch caught(isolate);
  const auto error_class = Control(context).error_class();
  v8::Local<v8::Value> hook, answer;
  if (error_class->Get(context, literal(isolate, "prepareStackTrace")).ToLocal(&hook)) {
    if (!hook->IsFunction()) return std::nullopt;
    v8::Local<v8::Value> argv[] = {error, sites};
    if (hook.As<v8::Function>()->Call(context, error_class, 2, argv).ToLocal(&answer)) {
      return v8::MaybeLocal<v8::Value>(answer);
    }
  }
  if (caught.HasTerminated()) {
    isolate->TerminateExecution();
    return v8::MaybeLocal<v8::Value>(v8::Undefined(isolate));
  }
  caught.ReThrow();
  return v8::MaybeLocal<v8::Value>();
}

v8::MaybeLocal<v8::Value> prepare_stack(v8::Local<v8::Context> context, v8::Local<v8::Value> error,
                                        v8::Local<v8::Array> sites) {
  v8::Isolate* const isolate = context->GetIsolate();
  if (const auto hooked = ask_hook(context, error, sites)) return *hooked;
  std::string text = shown_head(context, error);
  for (std::uint32_t i = 0; i < sites->Length(); ++i) {
    text.append(kFrame).append(shown_site(context, sites, i));
  }
  v8::Local<v8::String> result;
  if (!to_v8(isolate, text).ToLocal(&result)) result = v8::String::Empty(isolate);
  return result;
}

}  // namespace

void use_source_map(v8::Isolate* isolate, std::shared_ptr<SourceMap> map, std::string script_name) {
  if (map == nullptr) return;
  IsolateHost& host = host_of(isolate);
  host.source_map = std::move(map);
  host.script_name = std::move(script_name);
  isolate->SetPrepareStackTraceCallback(prepare_stack);
}

}  // namespace sequential::engine::v8host
