// F37: task code that tampers with everything it can reach gains no capability, and what the broker
// is told about it stays well-formed and its own.

#include <gtest/gtest.h>

#include <string>

#include "v8_harness.h"

namespace sequential::engine::v8test {
namespace {

using protocol::SliceDoneStatus;

class V8Capabilities : public ::testing::TestWithParam<const char*> {};

// Each expression must give undefined, false, or throw.
TEST_P(V8Capabilities, AreNotThere) {
  const Record record = run_task(
      std::string("module.exports = async () => {\n  try { const v = await (") + GetParam() +
      "); return v === undefined || v === false ? 'none' : `got ${typeof v}`; }\n"
      "  catch (e) { return 'none'; }\n};");
  EXPECT_EQ(record.payload, "\"none\"") << GetParam();
}

INSTANTIATE_TEST_SUITE_P(
    F37, V8Capabilities,
    ::testing::Values("eval('1')", "(0, eval)('1')", "new Function('return 1')()",
                      "(() => {}).constructor('return 1')()",
                      "(async () => {}).constructor('return 1')()",
                      "(function* () {}).constructor('yield 1')().next()",
                      "[].map.constructor.constructor('return this')()", "globalThis.WebAssembly",
                      "globalThis.SharedArrayBuffer", "globalThis.Atomics", "globalThis.process",
                      "globalThis.require", "globalThis.Deno", "globalThis.gc", "globalThis.d8",
                      "globalThis.load", "globalThis.print", "globalThis.read", "globalThis.quit",
                      "globalThis.Worker", "globalThis.importScripts", "globalThis.Buffer",
                      "globalThis.__dirname", "globalThis.module", "import('fs')",
                      "import('data:text/javascript,1')", "typeof require !== 'undefined'",
                      "new Intl.v8BreakIterator()",
                      "Object.getOwnPropertyNames(globalThis).some((n) => "
                      "/native|bootstrap|primordial|[$]/i.test(n))"));

// The functions of the runtime hand out neither themselves nor their arguments.
TEST(V8Escape, CallSitesGiveNoHostFunctions) {
  const Record record = run_task(R"js(
    module.exports = async () => {
      const found = [];
      Error.prepareStackTrace = (e, sites) => {
        for (const s of sites) {
          const name = s.getFileName?.() ?? '';
          if (String(name).startsWith('sequential:')) {
            if (s.getFunction() !== undefined) found.push('function');
            if (s.getThis() !== undefined && s.getThis() !== null) found.push('this');
          }
        }
        return 'x';
      };
      const tries = [
        () => console.log({ get [Symbol.toStringTag]() { new Error().stack; return 'a'; } }),
        () => [1].at({ valueOf() { new Error().stack; return 0; } }),
        () => services.s.m({ toJSON() { new Error().stack; return 1; } }),
        () => new Headers({ a: { toString() { new Error().stack; return 'b'; } } }),
        () => structuredClone({ get a() { new Error().stack; return 1; } }),
        () => new Date().toLocaleString({ toString() { new Error().stack; return 'en'; } }),
        () => new Promise((r) => setTimeout(() => { new Error().stack; r(); }, 1)),
        () => new EventTarget().addEventListener('x', { get handleEvent() { new Error().stack; } }),
      ];
      for (const t of tries) { try { await t(); } catch {} }
      return found;
    };)js");
  EXPECT_EQ(record.payload, "[]");
}

TEST(V8Escape, CallerAndArgumentsOfHostFunctionsAreClosed) {
  const Record record = run_task(R"js(
    module.exports = async () => {
      const out = [];
      for (const f of [__callHostTool__, sleep, fetch, console.log, setTimeout, structuredClone]) {
        for (const k of ['caller', 'arguments']) { try { out.push(f[k] ?? 'closed'); } catch { out.push('closed'); } }
      }
      function probe() { return probe.caller; }
      const seen = await new Promise((r) => setTimeout(() => r(probe()), 1));
      return [[...new Set(out)], typeof seen];
    };)js");
  EXPECT_EQ(record.status, SliceDoneStatus::completed) << record.payload;
  EXPECT_NE(record.payload.find("closed"), std::string::npos);
}

// Each is run before a call, a log and a result; all three must come out as if it had not been.
class V8Pollution : public ::testing::TestWithParam<const char*> {};

TEST_P(V8Pollution, DoesNotReachTheBroker) {
  const std::string code = std::string("module.exports = async (input) => {\n") + GetParam() + R"js(
    console.log('log', 1);
    const r = await __callHostTool__('svc', 'm', ['a', 1], { timeoutMs: 5 });
    try { await services.svc.fail(); } catch (e) { console.warn(e.code); }
    return r;
  };)js";
  RunOptions options;
  options.respond = [](const protocol::CallFrame& call) -> Answer {
    return call.method == "m"
               ? Answer{false, "5"}
               : Answer{true, R"({"name":"HostCallError","message":"m","code":"gone"})"};
  };
  const Record record = run_task(code, options);
  EXPECT_EQ(record.status, SliceDoneStatus::completed) << record.payload;
  EXPECT_EQ(record.payload, "5");
  ASSERT_EQ(record.calls.size(), 2u);
  EXPECT_EQ(record.calls[0].service + record.calls[0].method + record.calls[0].args +
                record.calls[0].options,
            R"(svcm["a",1]{"timeoutMs":5})");
  EXPECT_EQ(record.calls[1].args, "[]");
  ASSERT_EQ(record.logs.size(), 2u);
  EXPECT_EQ(record.logs[0].level, "info");
  EXPECT_EQ(record.logs[0].message, "log 1");
  EXPECT_EQ(record.logs[1].message, "gone");
  options.resume = Resume::replay_same_engine;
  EXPECT_EQ(to_text(run_task(code, options)), to_text(record));
}

INSTANTIATE_TEST_SUITE_P(
    F37, V8Pollution,
    ::testing::Values(
        "",
        "for (const k of ['service', 'method', 'resolve', 'reject', 'hooks', 'site', 'timer', "
        "'convert', 'stack', 'code',\n"
        " 'name', 'message', 'value', 'get', 'set', 'enumerable', 'writable', '0', '1', 'length', "
        "'done', 'seen'])\n"
        "  Object.defineProperty(Object.prototype, k, { __proto__: null, configurable: true, get() "
        "{ return 'evil'; }, set() { throw new Error('evil'); } });",
        "for (const k of [0, 1, 2, 3]) Object.defineProperty(Array.prototype, k, { get() { return "
        "'evil'; }, set() { throw new Error('evil'); } });",
        "Array.prototype[Symbol.iterator] = function* () { yield 'evil'; };",
        "for (const k of Object.getOwnPropertyNames(Array.prototype)) if (k !== 'constructor' && k "
        "!== 'length') Array.prototype[k] = () => 'evil';",
        "for (const k of Object.getOwnPropertyNames(String.prototype)) if (k !== 'constructor' && "
        "k !== 'length') String.prototype[k] = () => 'evil';",
        "for (const k of Object.getOwnPropertyNames(Map.prototype)) if (k !== 'size') "
        "Map.prototype[k] = () => 'evil';",
        "for (const k of ['call', 'apply', 'bind']) Function.prototype[k] = () => 'evil';",
        "Object.defineProperty(Map.prototype, 'size', { get() { return 1e9; } });",
        "JSON.stringify = () => 'evil'; JSON.parse = () => 'evil';",
        "for (const k of Object.getOwnPropertyNames(Reflect)) Reflect[k] = () => 'evil';",
        "for (const k of ['keys', 'assign', 'freeze', 'defineProperty', "
        "'getOwnPropertyDescriptor', 'create', 'is']) Object[k] = () => 'evil';",
        "globalThis.Promise = class { constructor() { throw new Error('evil'); } };",
        "globalThis.Map = globalThis.Set = globalThis.Error = globalThis.TypeError = "
        "globalThis.Array = undefined;",
        "Error.prepareStackTrace = () => { throw new Error('evil'); };",
        "Error.prepareStackTrace = () => ({ toString() { throw 1; } });",
        "Error.captureStackTrace = () => { throw 1; }; Error.stackTraceLimit = 'x';",
        "Error.stackTraceLimit = 0;", "HostCallError.prototype.name = { toString() { throw 1; } };",
        "Promise.prototype.finally = Promise.prototype.catch = () => 'evil';",
        "Object.defineProperty(Promise, Symbol.species, { get() { throw new Error('evil'); } });",
        "String.prototype.toJSON = Number.prototype.toJSON = Object.prototype.toJSON = undefined;",
        "RegExp.prototype.exec = () => { throw 1; }; RegExp.prototype[Symbol.replace] = () => "
        "'evil';",
        "globalThis.console2 = console; globalThis.services2 = services; delete globalThis.task;"));

TEST(V8Escape, APollutedToJsonOnlyHurtsTheRunItself) {
  const Record args = run_task(R"js(
    module.exports = async () => {
      Array.prototype.toJSON = () => ({ evil: 1 });
      try { await services.s.m(1); } catch (e) { delete Array.prototype.toJSON; return e.name; }
    };)js");
  EXPECT_EQ(args.payload, "\"TypeError\"");
  EXPECT_TRUE(args.calls.empty());
  const Record object = run_task(R"js(
    module.exports = async () => { Object.prototype.toJSON = () => 'evil'; throw new RangeError('own'); };)js");
  EXPECT_EQ(object.status, SliceDoneStatus::failed);
  EXPECT_NE(object.payload.find("\"name\":\"RangeError\""), std::string::npos) << object.payload;
}

TEST(V8Escape, APollutedThenOnlyHurtsTheRunItself) {
  const Record record = run_task(R"js(
    module.exports = async () => {
      Promise.prototype.then = function () { return new Promise(() => {}); };
      await services.s.m(1);
      return 1;
    };)js");
  EXPECT_EQ(record.payload, "1");
  const Record thenable = run_task(
      "module.exports = async () => { Object.prototype.then = function (f) { f('taken'); };\n"
      "  const r = await services.s.m(1); delete Object.prototype.then; return r; };");
  EXPECT_EQ(thenable.status, SliceDoneStatus::completed) << thenable.payload;
  EXPECT_EQ(thenable.payload, "\"taken\"");
}

TEST(V8Escape, StrangeResultsAreJsonOrAnError) {
  for (const char* body :
       {"return new Proxy({}, { ownKeys() { throw 1; } });", "return new Proxy([], {});",
        "return { then(r) { r({ then(r2) { r2(5); } }); } };",
        "return { toJSON() { return undefined; } };", "return { toJSON() { return () => 1; } };",
        "return new Proxy(() => 1, {});", "return '\\ud800';",
        "return { ['__proto__']: 1, a: NaN, b: -0, c: 1e400 };",
        "return Promise.reject(Promise.resolve(1));",
        "throw new Proxy(new Error('x'), { get() { throw 2; } });",
        "throw { name: 5, message: {}, stack: 7, code: Symbol('x') };",
        "return [undefined, () => 1, Symbol('s')];",
        "return new (class extends Array { toJSON() { return this; } })(3);",
        "return Object.create({ a: 1 });", "const e = new Error('x'); e.cause = e; throw e;",
        "throw Object.setPrototypeOf(new Error('m'), null);"}) {
    const Record record = run_task(std::string("module.exports = async () => {") + body + "};");
    EXPECT_TRUE(record.status == SliceDoneStatus::completed ||
                record.status == SliceDoneStatus::failed)
        << body;
    EXPECT_FALSE(record.payload.empty()) << body;
  }
  EXPECT_EQ(run_task("module.exports = () => '\\ud800';").payload, R"("\ud800")");
}

TEST(V8Escape, ATaskCannotEndOrFakeTheSliceOfTheNext) {
  EngineProcess engine;
  TestRun dirty(R"js(
    globalThis.marker = 'dirty'; Object.prototype.evil = 1; Array.prototype.push = () => 'evil';
    Math.random = () => 4; globalThis.Date = null; console.log = null; delete globalThis.__callHostTool__;
    module.exports = async () => 1;)js",
                {.id = 1});
  dirty.finish(engine);
  TestRun clean(
      "module.exports = async () => [typeof marker, {}.evil === undefined, [].push(1), "
      "Math.random() < 1,\n"
      "  typeof Date.now(), (await services.s.m()).seq];",
      {.id = 2, .function_id = 1});
  auto frame = clean.cold_frame(true);
  frame.function_id = 2;
  EXPECT_EQ(TestRun("module.exports = async () => [typeof marker, {}.evil === undefined, "
                    "[].push(1), Math.random() < 1,\n"
                    "  typeof Date.now(), (await services.s.m()).seq];",
                    {.id = 3, .function_id = 3})
                .finish(engine)
                .payload,
            R"(["undefined",true,1,true,"number",1])");
  // The same function, the same isolate, another context.
  TestRun again("", {.id = 4, .function_id = 1});
  auto second = again.cold_frame(false);
  EXPECT_EQ(engine.slice(second).payload, "1");
}

}  // namespace
}  // namespace sequential::engine::v8test
