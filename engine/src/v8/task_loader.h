#pragma once
// Loads task code into a context: compiles it as CommonJS or as an ES module, evaluates it, and
// finds the function it exports.

#include <v8.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "source_map.h"

namespace sequential::engine::v8host {

// The code of one task function version, kept for as long as the broker counts on it.
struct TaskFunction {
  std::int64_t id = 0;
  std::string name;
  std::int64_t version = 0;
  std::string code;                       // without its source map
  std::shared_ptr<SourceMap> source_map;  // null: it has none
  bool is_module = false;                 // known once it has been compiled
  bool compiled = false;
  // What V8 made of it here, for further isolates of this process. Never from outside.
  std::unique_ptr<v8::ScriptCompiler::CachedData> code_cache;
};

struct LoadProblem {
  std::string message;
  std::string source;  // the author's file, by the source map; empty: the code itself
  int line = 0;        // 1-based, 0: unknown
  int column = 0;      // 1-based
  bool terminated = false;
  // What the code threw while it was evaluated; empty for problems that are ours to tell.
  v8::Local<v8::Value> thrown;
};

// The code as it was published: its source map, if it ends with one, is kept apart.
void set_code(TaskFunction& function, std::string code);

struct LoadedTask {
  v8::Local<v8::Function> function;
  int script_id = -1;
};

class TaskLoader {
 public:
  // `script` caches the compiled script for other contexts of the same isolate.
  TaskLoader(TaskFunction& function, v8::Global<v8::UnboundScript>& script)
      : function_(function), script_(script) {}

  // In the entered context. Runs the code's top level and drains microtasks. nullopt: see
  // problem().
  std::optional<LoadedTask> load(v8::Local<v8::Context> context);
  const LoadProblem& problem() const { return problem_; }

 private:
  bool compile(v8::Local<v8::Context> context);
  bool compile_script(v8::Local<v8::Context> context);
  bool compile_module(v8::Local<v8::Context> context);
  v8::MaybeLocal<v8::Value> run_script(v8::Local<v8::Context> context);
  v8::MaybeLocal<v8::Value> run_module(v8::Local<v8::Context> context);
  bool refuse_imports(v8::Local<v8::Context> context);
  void set_problem(v8::Local<v8::Context> context, const v8::TryCatch& caught);
  void name_authors_place();
  v8::ScriptOrigin origin(v8::Isolate* isolate, bool is_module) const;

  TaskFunction& function_;
  v8::Global<v8::UnboundScript>& script_;
  v8::Local<v8::Module> module_;
  int script_id_ = -1;
  LoadProblem problem_;
};

}  // namespace sequential::engine::v8host
