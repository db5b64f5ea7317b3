#include "task_loader.h"

#include <algorithm>
#include <cctype>
#include <string>
#include <string_view>
#include <utility>

#include "mapped_stack.h"
#include "text.h"

namespace sequential::engine::v8host {
namespace {

constexpr std::string_view kWrapperHead = "(function (module, exports) {";
constexpr std::string_view kWrapperTail = "\n})";

// True if a line starts with the word: enough to tell which of two syntax errors the author wants.
bool has_statement(std::string_view code, std::string_view word) {
  for (std::size_t at = code.find(word); at != std::string_view::npos;
       at = code.find(word, at + word.size())) {
    const std::size_t line = code.rfind('\n', at);
    const std::size_t from = line == std::string_view::npos ? 0 : line + 1;
    const auto before = code.substr(from, at - from);
    const std::size_t end = at + word.size();
    const bool ends =
        end >= code.size() ||
        (std::isalnum(static_cast<unsigned char>(code[end])) == 0 && code[end] != '_');
    if (before.find_first_not_of(" \t;") == std::string_view::npos && ends) return true;
  }
  return false;
}

// The name of the first function that a line begins to declare: most likely the task, so that the
// author is told the very line to add. Otherwise how such a function begins.
std::string first_function(std::string_view code) {
  while (!code.empty()) {
    const std::size_t end = std::min(code.find('\n'), code.size());
    std::string_view line = code.substr(0, end);
    code.remove_prefix(std::min(end + 1, code.size()));
    constexpr std::string_view kAsync = "async ", kFunction = "function ";
    if (line.starts_with(kAsync)) line.remove_prefix(kAsync.size());
    if (!line.starts_with(kFunction)) continue;
    line.remove_prefix(kFunction.size());
    const auto is_part = [](unsigned char c) {
      return std::isalnum(c) != 0 || c == '_' || c == '$';
    };
    const auto last = std::find_if_not(line.begin(), line.end(), is_part);
    if (last != line.begin()) return {line.begin(), last};
  }
  return "async function (input) { … }";
}

std::string script_name(const TaskFunction& function) { return function.name + ".js"; }

bool looks_like_module(std::string_view code) {
  return has_statement(code, "export") || has_statement(code, "import");
}

v8::Local<v8::Value> member(v8::Local<v8::Context> context, v8::Local<v8::Value> object,
                            const char* name) {
  v8::Isolate* const isolate = context->GetIsolate();
  if (!object->IsObject()) return v8::Undefined(isolate);
  v8::Local<v8::Value> value;
  if (!object.As<v8::Object>()->Get(context, literal(isolate, name)).ToLocal(&value)) return {};
  return value;
}

v8::MaybeLocal<v8::Module> refuse_import(v8::Local<v8::Context> context, v8::Local<v8::String>,
                                         v8::Local<v8::FixedArray>, v8::Local<v8::Module>) {
  v8::Isolate* const isolate = context->GetIsolate();
  isolate->ThrowException(v8::Exception::Error(literal(isolate, "imports are not supported")));
  return {};
}

}  // namespace

void set_code(TaskFunction& function, std::string code) {
  function.code = std::move(code);
  function.source_map = SourceMap::take_from(function.code);
}

v8::ScriptOrigin TaskLoader::origin(v8::Isolate* isolate, bool is_module) const {
  const auto name = to_v8(isolate, script_name(function_)).FromMaybe(v8::String::Empty(isolate));
  // The wrapper stands on the code's first line, so that line's columns are shifted back.
  const int column = is_module ? 0 : -static_cast<int>(kWrapperHead.size());
  return {isolate, name, 0, column, false, -1, v8::Local<v8::Value>(), false, false, is_module};
}

void TaskLoader::set_problem(v8::Local<v8::Context> context, const v8::TryCatch& caught) {
  v8::Isolate* const isolate = context->GetIsolate();
  problem_ = {};
  problem_.terminated = caught.HasTerminated() || isolate->IsExecutionTerminating();
  if (problem_.terminated) {
    problem_.message = "loading the code took too long";
    return;
  }
  problem_.thrown = caught.Exception();
  // A rejected module was thrown again here; where it came from, the error itself tells.
  auto message = caught.Message();
  const bool has_line = !message.IsEmpty() && message->GetLineNumber(context).FromMaybe(0) > 0;
  if (!has_line && problem_.thrown->IsNativeError()) {
    message = v8::Exception::CreateMessage(isolate, problem_.thrown);
  }
  if (message.IsEmpty()) {
    problem_.message = "the code cannot be loaded";
    return;
  }
  problem_.message = to_utf8(isolate, message->Get());
  constexpr std::string_view kUncaught = "Uncaught ";
  if (problem_.message.starts_with(kUncaught)) problem_.message.erase(0, kUncaught.size());
  problem_.line = message->GetLineNumber(context).FromMaybe(0);
  problem_.column = std::max(0, message->GetStartColumn(context).FromMaybe(-1) + 1);
  // What V8 finds behind the author's last line is the wrapper's end: the code ended too early.
  const std::string& code = function_.code;
  const auto last_line = 1 + static_cast<int>(std::count(code.begin(), code.end(), '\n'));
  if (problem_.line > last_line && problem_.message.starts_with("SyntaxError")) {
    const auto line_begin = code.rfind('\n') + 1;  // npos + 1 is 0
    problem_.line = last_line;
    problem_.column = static_cast<int>(code.size() - line_begin) + 1;
    problem_.message = "SyntaxError: Unexpected end of input";
  }
  name_authors_place();
}

void TaskLoader::name_authors_place() {
  if (function_.source_map == nullptr) return;
  const auto at = function_.source_map->find(problem_.line, std::max(problem_.column, 1));
  if (!at) return;
  problem_.source = at->source;
  problem_.line = at->line;
  problem_.column = at->column;
}

bool TaskLoader::compile_script(v8::Local<v8::Context> context) {
  v8::Isolate* const isolate = context->GetIsolate();
  if (!script_.IsEmpty()) {
    script_id_ = script_.Get(isolate)->GetId();
    return true;
  }
  v8::Local<v8::String> text;
  std::string wrapped;
  wrapped.reserve(kWrapperHead.size() + function_.code.size() + kWrapperTail.size());
  wrapped.append(kWrapperHead).append(function_.code).append(kWrapperTail);
  if (!to_v8(isolate, wrapped).ToLocal(&text)) return false;

  v8::ScriptCompiler::CachedData* cache = nullptr;
  if (function_.code_cache) {
    // Source takes ownership of the object, not of the bytes.
    cache = new v8::ScriptCompiler::CachedData(function_.code_cache->data,
                                               function_.code_cache->length);
  }
  v8::ScriptCompiler::Source source(text, origin(isolate, false), cache);
  v8::Local<v8::UnboundScript> script;
  const auto how = cache != nullptr ? v8::ScriptCompiler::kConsumeCodeCache
                                    : v8::ScriptCompiler::kNoCompileOptions;
  if (!v8::ScriptCompiler::CompileUnboundScript(isolate, &source, how).ToLocal(&script))
    return false;
  if (!function_.code_cache) {
    function_.code_cache.reset(v8::ScriptCompiler::CreateCodeCache(script));
  }
  script_.Reset(isolate, script);
  script_id_ = script->GetId();
  return true;
}

bool TaskLoader::compile_module(v8::Local<v8::Context> context) {
  v8::Isolate* const isolate = context->GetIsolate();
  v8::Local<v8::String> text;
  if (!to_v8(isolate, function_.code).ToLocal(&text)) return false;
  v8::ScriptCompiler::CachedData* cache = nullptr;
  if (function_.compiled && function_.code_cache) {
    cache = new v8::ScriptCompiler::CachedData(function_.code_cache->data,
                                               function_.code_cache->length);
  }
  v8::ScriptCompiler::Source source(text, origin(isolate, true), cache);
  const auto how = cache != nullptr ? v8::ScriptCompiler::kConsumeCodeCache
                                    : v8::ScriptCompiler::kNoCompileOptions;
  if (!v8::ScriptCompiler::CompileModule(isolate, &source, how).ToLocal(&module_)) return false;
  if (!function_.code_cache) {
    function_.code_cache.reset(
        v8::ScriptCompiler::CreateCodeCache(module_->GetUnboundModuleScript()));
  }
  script_id_ = module_->ScriptId();
  return true;
}

bool TaskLoader::refuse_imports(v8::Local<v8::Context> context) {
  const auto requests = module_->GetModuleRequests();
  if (requests->Length() == 0) return false;
  v8::Isolate* const isolate = context->GetIsolate();
  const auto request = requests->Get(context, 0).As<v8::ModuleRequest>();
  auto at = module_->SourceOffsetToLocation(request->GetSourceOffset());
  problem_ = {};
  problem_.message = "imports are not supported (" + to_utf8(isolate, request->GetSpecifier()) +
                     "): publish the file with `sequential-runner publish`, which bundles it with "
                     "what it imports";
  problem_.line = at.GetLineNumber() + 1;
  problem_.column = at.GetColumnNumber() + 1;
  name_authors_place();
  return true;
}

// Tries CommonJS, then a module; once known, only what it is.
bool TaskLoader::compile(v8::Local<v8::Context> context) {
  v8::Isolate* const isolate = context->GetIsolate();
  if (!function_.is_module) {
    v8::TryCatch caught(isolate);
    if (compile_script(context)) {
      function_.compiled = true;
      return true;
    }
    set_problem(context, caught);
    if (function_.compiled || problem_.terminated) return false;
  }
  v8::TryCatch caught(isolate);
  if (compile_module(context)) {
    if (refuse_imports(context)) {
      function_.code_cache.reset();
      return false;
    }
    function_.is_module = true;
    function_.compiled = true;
    return true;
  }
  // The author of a module wants the module's error, others the script's.
  if (function_.is_module || looks_like_module(function_.code)) set_problem(context, caught);
  return false;
}

v8::MaybeLocal<v8::Value> TaskLoader::run_script(v8::Local<v8::Context> context) {
  v8::Isolate* const isolate = context->GetIsolate();
  v8::Local<v8::Value> wrapper;
  if (!script_.Get(isolate)->BindToCurrentContext()->Run(context).ToLocal(&wrapper)) return {};
  const auto exports = v8::Object::New(isolate);
  const auto module = v8::Object::New(isolate);
  if (!module->CreateDataProperty(context, literal(isolate, "exports"), exports).FromMaybe(false)) {
    return {};
  }
  v8::Local<v8::Value> argv[] = {module, exports};
  // The code can break out of its wrapper ("}); 5; (function () {"): then there is no function.
  if (wrapper->IsFunction() &&
      wrapper.As<v8::Function>()->Call(context, exports, 2, argv).IsEmpty()) {
    return {};
  }
  isolate->PerformMicrotaskCheckpoint();
  if (isolate->IsExecutionTerminating()) return {};
  const auto exported = member(context, module, "exports");
  if (exported.IsEmpty() || exported->IsFunction()) return exported;
  return member(context, exported, "default");
}

v8::MaybeLocal<v8::Value> TaskLoader::run_module(v8::Local<v8::Context> context) {
  v8::Isolate* const isolate = context->GetIsolate();
  v8::Local<v8::Value> evaluated;
  if (!module_->InstantiateModule(context, refuse_import).FromMaybe(false) ||
      !module_->Evaluate(context).ToLocal(&evaluated)) {
    return {};
  }
  isolate->PerformMicrotaskCheckpoint();
  if (isolate->IsExecutionTerminating()) return {};
  const auto promise = evaluated.As<v8::Promise>();
  promise->MarkAsHandled();
  if (promise->State() == v8::Promise::kRejected) {
    isolate->ThrowException(promise->Result());
    return {};
  }
  if (promise->State() == v8::Promise::kPending) {
    isolate->ThrowException(v8::Exception::Error(literal(
        isolate,
        "the module's top level waits for something: await only inside the task function")));
    return {};
  }
  return member(context, module_->GetModuleNamespace(), "default");
}

std::optional<LoadedTask> TaskLoader::load(v8::Local<v8::Context> context) {
  v8::Isolate* const isolate = context->GetIsolate();
  use_source_map(isolate, function_.source_map, script_name(function_));
  if (!compile(context)) {
    if (problem_.message.empty()) problem_.message = "the code is too long";
    return std::nullopt;
  }
  v8::TryCatch caught(isolate);
  v8::Local<v8::Value> exported;
  const bool ran =
      (function_.is_module ? run_module(context) : run_script(context)).ToLocal(&exported);
  if (!ran) {
    set_problem(context, caught);
    return std::nullopt;
  }
  if (!exported->IsFunction()) {
    problem_ = {};
    problem_.message =
        function_.is_module
            ? std::string("the code exports no function: use `export default async function`")
            : "the code exports no function: add the line `module.exports = " +
                  first_function(function_.code) + ";`";
    return std::nullopt;
  }
  return LoadedTask{exported.As<v8::Function>(), script_id_};
}

}  // namespace sequential::engine::v8host
