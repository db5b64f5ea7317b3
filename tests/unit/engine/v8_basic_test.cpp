// The life of a run: start, calls, outcomes, end; task forms; checks of code.

#include <gtest/gtest.h>

#include <string>

#include "v8_harness.h"

namespace sequential::engine::v8test {
namespace {

using protocol::SliceDoneStatus;

TEST(V8Basic, AnEngineSaysWhichV8ItHasAndTakesItsBaseFromTheFile) {
  EngineProcess engine;
  EXPECT_FALSE(engine.ready().v8_version.empty());
  EXPECT_GT(engine.ready().base_blob_bytes, 100'000);
  EXPECT_TRUE(engine.ready().base_from_file);
}

TEST(V8Basic, AnEngineEndsWithItsSocket) {
  EngineProcess engine;
  engine.close_socket();
  const Exit ended = engine.wait();
  EXPECT_EQ(ended.code, 0);
  EXPECT_EQ(ended.signal, 0);
}

TEST(V8Basic, ATaskWithoutCallsCompletesInItsFirstSlice) {
  const Record record = run_task("module.exports = async (input) => ({ doubled: input.n * 2 });",
                                 {.input = R"({"n":21})"});
  EXPECT_EQ(record.status, SliceDoneStatus::completed);
  EXPECT_EQ(record.payload, R"({"doubled":42})");
  EXPECT_EQ(record.slices, 1);
}

TEST(V8Basic, ACallSuspendsTheTaskAndItsOutcomeResumesIt) {
  EngineProcess engine;
  TestRun run(
      "module.exports = async (input) => {\n"
      "  const r = await __callHostTool__('db', ['users', 'get'], [input, 'x'], { timeoutMs: 5 "
      "});\n"
      "  return r.name;\n};\n",
      {.input = "7"});
  const auto first = run.begin_cold(engine);
  ASSERT_EQ(first.status, SliceDoneStatus::suspended);
  EXPECT_TRUE(first.warm);
  EXPECT_FALSE(first.replayed);
  ASSERT_EQ(first.calls.size(), 1u);
  EXPECT_EQ(first.calls[0].seq, 1);
  EXPECT_EQ(first.calls[0].service, "db");
  EXPECT_EQ(first.calls[0].method, "users.get");
  EXPECT_EQ(first.calls[0].args, R"([7,"x"])");
  EXPECT_EQ(first.calls[0].options, R"({"timeoutMs":5})");
  EXPECT_EQ(first.calls[0].source_line, 2);
  run.record_outcome(1, {false, R"({"name":"Ä"})"});
  const auto last = run.deliver_warm(engine);
  EXPECT_EQ(last.status, SliceDoneStatus::completed);
  EXPECT_EQ(last.payload, "\"Ä\"");
  EXPECT_FALSE(last.warm);
}

TEST(V8Basic, ArgumentsAreAlwaysAnArray) {
  const Record record = run_task(R"js(
    module.exports = async () => {
      await __callHostTool__('s', 'none');
      await __callHostTool__('s', 'one', { a: 1 });
      await __callHostTool__('s', 'list', [1, 2]);
      await __callHostTool__('s', 'null', null);
      await services.s.deep.er.method('a', 2);
      await services.s.plain();
    };)js");
  ASSERT_EQ(record.status, SliceDoneStatus::completed) << record.payload;
  std::string seen;
  for (const auto& call : record.calls) seen += call.method + call.args + ";";
  EXPECT_EQ(seen, R"(none[];one[{"a":1}];list[1,2];null[null];deep.er.method["a",2];plain[];)");
}

TEST(V8Basic, AnEsModuleWithADefaultExportIsATask) {
  const Record record = run_task(
      "const factor = await Promise.resolve(3);\n"
      "export const other = 1;\n"
      "export default async function (input) {\n"
      "  const { args } = await services.math.times(input, factor);\n"
      "  return { args, line: /task\\.js:5:/.test(new Error('x').stack) };\n}\n",
      {.input = "5"});
  EXPECT_EQ(record.status, SliceDoneStatus::completed) << record.payload;
  EXPECT_EQ(record.payload, R"({"args":[5,3],"line":true})");
  EXPECT_EQ(record.calls.at(0).source_line, 4);
}

TEST(V8Basic, ExportsDefaultOfACompiledModuleIsATask) {
  const Record record = run_task("exports.default = function () { return 1; };");
  EXPECT_EQ(record.payload, "1");
}

TEST(V8Basic, ResultsThatAreNotJsonBecomeNullOrAnError) {
  EXPECT_EQ(run_task("module.exports = async () => {};").payload, "null");
  EXPECT_EQ(run_task("module.exports = () => Symbol('x');").payload, "null");
  const Record cycle = run_task("module.exports = () => { const a = {}; a.a = a; return a; };");
  EXPECT_EQ(cycle.status, SliceDoneStatus::failed);
  EXPECT_NE(cycle.payload.find("\"name\":\"TypeError\""), std::string::npos) << cycle.payload;
  const Record big = run_task("module.exports = () => 10n;");
  EXPECT_EQ(big.status, SliceDoneStatus::failed);
}

TEST(V8Basic, AThrownErrorKeepsItsNameMessageCodeAndTheTasksOwnLine) {
  const Record record = run_task(
      "module.exports = async function search() {\n"
      "  const e = new RangeError('too far', { cause: new Error('because') });\n"
      "  e.code = 'E_FAR';\n  throw e;\n};",
      {.name = "my-task"});
  EXPECT_EQ(record.status, SliceDoneStatus::failed);
  EXPECT_NE(record.payload.find(R"("name":"RangeError","message":"too far","code":"E_FAR")"),
            std::string::npos)
      << record.payload;
  EXPECT_NE(record.payload.find("search (my-task.js:2:13)"), std::string::npos) << record.payload;
  EXPECT_NE(record.payload.find(R"("cause":{"name":"Error","message":"because")"),
            std::string::npos);
}

TEST(V8Basic, PositionsOnTheFirstLineAreThoseOfTheFile) {
  const Record record = run_task("module.exports = () => { throw new Error('x'); };");
  EXPECT_NE(record.payload.find("task.js:1:32"), std::string::npos) << record.payload;
}

TEST(V8Basic, AnythingCanBeThrown) {
  EXPECT_NE(
      run_task("module.exports = () => { throw 'text'; };").payload.find("\"message\":\"text\""),
      std::string::npos);
  EXPECT_NE(run_task("module.exports = () => { throw undefined; };").payload.find("undefined"),
            std::string::npos);
  EXPECT_EQ(
      run_task("module.exports = () => { throw new Proxy({}, { get() { throw 1; } }); };").status,
      SliceDoneStatus::failed);
  EXPECT_EQ(run_task("module.exports = () => { throw Object.create(null); };").status,
            SliceDoneStatus::failed);
}

TEST(V8Basic, ACallsErrorIsThrownWhereTheCallWasMade) {
  const std::string code =
      "async function fetchUser() {\n"
      "  return await services.db.get(1);\n"
      "}\n"
      "module.exports = async () => {\n"
      "  try { await fetchUser(); } catch (e) {\n"
      "    return [e.name, e instanceof HostCallError, e instanceof Error, e.message, e.code, "
      "e.status,\n"
      "      e.service, e.method, e.errors, e.stack.split('\\n').slice(0, 2).map(s => s.trim())];\n"
      "  }\n};";
  const Record record =
      run_task(code, {.respond = [](const auto&) {
                 return Answer{true, R"({"name":"Error","message":"gone",)"
                                     R"("code":"not_found","status":404,"errors":[{"r":1}]})"};
               }});
  EXPECT_EQ(record.payload,
            R"(["HostCallError",true,true,"gone","not_found",404,"db","get",[{"r":1}],)"
            R"js(["HostCallError: gone","at fetchUser (task.js:2:28)"]])js");
}

TEST(V8Basic, ErrorClassesFollowTheRecordedNameOrCode) {
  const std::string code = R"js(
    module.exports = async () => {
      const out = [];
      for (const C of [TimeoutError, OutcomeUnknownError, CancelledError]) {
        try { await services.s.m(); } catch (e) {
          out.push(e.name, e instanceof C, e instanceof HostCallError);
        }
      }
      return out;
    };)js";
  const Record record =
      run_task(code, {.respond = [](const auto& call) {
                 return Answer{true, call.seq == 1   ? R"({"name":"TimeoutError","message":"t"})"
                                     : call.seq == 2 ? R"({"message":"o","code":"outcome_unknown"})"
                                                     : R"({"message":"c","code":"cancelled"})"};
               }});
  EXPECT_EQ(record.payload, R"(["TimeoutError",true,true,"OutcomeUnknownError",true,true,)"
                            R"("CancelledError",true,true])");
}

TEST(V8Basic, WrongArgumentsOfACallRejectAndAreNotRecorded) {
  const Record record = run_task(R"js(
    module.exports = async () => {
      const names = [];
      const cycle = []; cycle.push(cycle);
      let deep = []; for (let i = 0; i < 600; i++) deep = [deep];
      const tries = [
        () => __callHostTool__('s', 'm', [1n]), () => __callHostTool__('s', 'm', cycle),
        () => __callHostTool__(5, 'm'), () => __callHostTool__('s', ''), () => __callHostTool__('s', []),
        () => __callHostTool__('s', ['a', 5]), () => __callHostTool__('s', 'm', [], 'opts'),
        () => __callHostTool__('s', 'm', { toJSON() { throw new RangeError('mine'); } }),
        () => __callHostTool__('s', 'm', deep), () => __callHostTool__('x'.repeat(2000), 'm'),
        () => __callHostTool__('s', 'm', 'x'.repeat(33 << 20)), () => services.gapi('x'),
      ];
      for (const t of tries) {
        const p = t();
        if (!(p instanceof Promise)) names.push('no promise');
        try { await p; names.push('none'); } catch (e) { names.push(e.name); }
      }
      return names.join();
    };)js");
  EXPECT_EQ(record.payload,
            "\"TypeError,TypeError,TypeError,TypeError,TypeError,TypeError,TypeError,RangeError,"
            "TypeError,TypeError,TypeError,TypeError\"");
  EXPECT_TRUE(record.calls.empty());
}

TEST(V8Basic, SuspensionIsInvisibleToTryCatchFinally) {  // F38
  const std::string code = R"js(
    module.exports = async () => {
      const trace = [];
      async function inner() {
        try { await services.s.call1(); trace.push('after'); return 'ok'; }
        catch { trace.push('catch'); return 1; }
        finally { trace.push('finally'); await services.s.call2(); }
      }
      const value = await inner();
      return { value, trace };
    };)js";
  for (const Resume resume :
       {Resume::warm, Resume::replay_same_engine, Resume::replay_new_engine}) {
    const Record record = run_task(code, {.resume = resume});
    EXPECT_EQ(record.payload, R"({"value":"ok","trace":["after","finally"]})");
    ASSERT_EQ(record.calls.size(), 2u);
    EXPECT_EQ(record.calls[0].method, "call1");
    EXPECT_EQ(record.calls[1].method, "call2");
  }
}

TEST(V8Basic, AWaitThatNothingCanEndIsADeadlock) {
  const Record record = run_task("module.exports = () => new Promise(() => {});");
  EXPECT_EQ(record.status, SliceDoneStatus::failed);
  EXPECT_NE(record.payload.find("\"code\":\"deadlock\""), std::string::npos) << record.payload;
}

TEST(V8Basic, CallsThatNobodyAwaitsAreStillIssued) {
  const Record record =
      run_task("module.exports = async () => { services.s.fire('x'); return 1; };");
  EXPECT_EQ(record.status, SliceDoneStatus::completed);
  EXPECT_EQ(record.calls.size(), 1u);
}

TEST(V8Basic, UnhandledRejectionsAreLoggedAndDoNotEndTheRun) {
  const Record record = run_task(R"js(
    module.exports = async () => {
      Promise.reject(new Error('lost'));
      const kept = Promise.reject(new Error('kept')); kept.catch(() => {});
      await services.s.m();
      return 1;
    };)js");
  EXPECT_EQ(record.payload, "1");
  ASSERT_EQ(record.logs.size(), 1u);
  EXPECT_EQ(record.logs[0].level, "warn");
  EXPECT_NE(record.logs[0].message.find("Unhandled promise rejection: Error: lost"),
            std::string::npos)
      << record.logs[0].message;
}

TEST(V8Basic, AWarmBeginAtAnotherPositionIsNotWarm) {
  EngineProcess engine;
  TestRun run("module.exports = async () => { await services.s.a(); await services.s.b(); };", {});
  run.begin_cold(engine);
  run.record_outcome(1, {});
  auto frame = run.warm_frame();
  frame.delivered_from = 1;
  EXPECT_EQ(engine.slice(frame).status, SliceDoneStatus::not_warm);
  frame = run.warm_frame();
  frame.run = 999;
  EXPECT_EQ(engine.slice(frame).status, SliceDoneStatus::not_warm);
  engine.send(protocol::Forget{.run = 7});
  EXPECT_EQ(engine.slice(run.warm_frame()).status, SliceDoneStatus::not_warm);
}

TEST(V8Check, GoodCodePasses) {
  EngineProcess engine;
  EXPECT_TRUE(engine.check("module.exports = async () => 1;").ok);
  EXPECT_TRUE(engine.check("export default async function () {}").ok);
  EXPECT_TRUE(
      engine.check("const s = services.gapi;\nconsole.log('hi');\nmodule.exports = () => s.x();")
          .ok);
}

TEST(V8Check, ASyntaxErrorHasItsLineAndColumn) {
  EngineProcess engine;
  const auto third = engine.check("const a = 1;\n\nlet b = = 2;\nmodule.exports = () => a;");
  EXPECT_FALSE(third.ok);
  EXPECT_EQ(third.line, 3);
  EXPECT_EQ(third.column, 9);
  EXPECT_NE(third.message.find("SyntaxError"), std::string::npos);
  const auto first = engine.check("let b = = 2;");
  EXPECT_EQ(first.line, 1);
  EXPECT_EQ(first.column, 9);
  const auto module = engine.check("export default function () {\n  return ) ;\n}");
  EXPECT_EQ(module.line, 2);
  EXPECT_EQ(module.column, 10);
}

TEST(V8Check, CodeThatThrowsWhileLoadingIsRefusedWithItsLine) {
  EngineProcess engine;
  const auto thrown =
      engine.check("const a = 1;\n  undefinedFunction();\nmodule.exports = () => a;");
  EXPECT_FALSE(thrown.ok);
  EXPECT_EQ(thrown.line, 2);
  EXPECT_EQ(thrown.column, 3);
  EXPECT_EQ(thrown.message, "ReferenceError: undefinedFunction is not defined");
  const auto module = engine.check("export default () => 1;\nawait null;\nthrow new Error('m');");
  EXPECT_FALSE(module.ok);
  EXPECT_EQ(module.line, 3);
}

TEST(V8Check, CodeThatExportsNoFunctionIsRefused) {
  EngineProcess engine;
  for (const char* code : {"const a = 1;", "module.exports = 5;", "module.exports = { run() {} };",
                           "export const a = 1;", "}); 5; (function () {"}) {
    const auto checked = engine.check(code);
    EXPECT_FALSE(checked.ok) << code;
    EXPECT_NE(checked.message.find("exports no function"), std::string::npos) << checked.message;
  }
}

TEST(V8Check, ImportsAndWaitingTopLevelsAreRefusedClearly) {
  EngineProcess engine;
  const auto import = engine.check("// head\nimport fs from 'fs';\nexport default () => fs;");
  EXPECT_FALSE(import.ok);
  EXPECT_NE(import.message.find("imports are not supported (fs)"), std::string::npos)
      << import.message;
  EXPECT_EQ(import.line, 2);
  const auto waits = engine.check("export default () => 1;\nawait new Promise(() => {});");
  EXPECT_NE(waits.message.find("top level waits"), std::string::npos) << waits.message;
  const auto calls = engine.check("export default () => 1;\nawait services.a.b();");
  EXPECT_NE(calls.message.find("only inside the task function"), std::string::npos)
      << calls.message;
  const auto require = engine.check("const fs = require('fs');\nmodule.exports = () => 1;");
  EXPECT_NE(require.message.find("require is not defined"), std::string::npos) << require.message;
}

TEST(V8Check, ACheckLeavesNothingBehind) {
  EngineProcess engine;
  EXPECT_TRUE(
      engine.check("globalThis.leak = 1; Array.prototype.x = 1; module.exports = () => 1;").ok);
  const Record record =
      TestRun("module.exports = () => [typeof leak, [].x === undefined];", {}).finish(engine);
  EXPECT_EQ(record.payload, R"(["undefined",true])");
}

TEST(V8Check, CodeWhoseLoadingFailsAtRunTimeFailsTheRun) {
  const Record syntax = run_task("let b = = 2;");
  EXPECT_EQ(syntax.status, SliceDoneStatus::failed);
  EXPECT_NE(syntax.payload.find("\"code\":\"code_invalid\""), std::string::npos) << syntax.payload;
  EXPECT_NE(syntax.payload.find("task.js:1:9"), std::string::npos) << syntax.payload;
  const Record thrown = run_task("\nmissing();");
  EXPECT_NE(thrown.payload.find("ReferenceError"), std::string::npos) << thrown.payload;
  EXPECT_NE(thrown.payload.find("task.js:2:1"), std::string::npos) << thrown.payload;
}

}  // namespace
}  // namespace sequential::engine::v8test
