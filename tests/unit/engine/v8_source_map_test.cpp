// Code that was bundled: stacks, lines of calls and problems of loading name the author's places,
// warm as replayed, and hostile maps do no harm.

#include <gtest/gtest.h>

#include <string>

#include "map_maker.h"
#include "v8_harness.h"

namespace sequential::engine::v8test {
namespace {

using protocol::SliceDoneStatus;

constexpr Resume kEveryWay[] = {Resume::warm, Resume::replay_same_engine,
                                Resume::replay_new_engine};

// A bundle of lib/helper.ts (lines 1 to 5), a package (6 to 9), and src/app.ts (the rest). Every
// line of it is line + 100 of its file, its columns moved by 7.
const std::string kCode =
    "async function helper(n) {\n"
    "  if (n < 0) throw new RangeError('negative');\n"
    "  try { await services.s.helped(n); } catch (error) { console.log(error.stack); throw error; "
    "}\n"
    "  return new Error('made').stack;\n"
    "}\n"
    "const packaged = async (n) => {\n"
    "\n"
    "  return await services.s.packaged(n);\n"
    "};\n"
    "module.exports = async function app(input) {\n"
    "  await services.s.direct();\n"
    "  await packaged(1);\n"
    "  if (input === 'made') return helper(1);\n"
    "  await helper(input);\n"
    "};\n";

std::string bundled() {
  MapMaker maker({"lib/helper.ts", "node_modules/p/index.js", "src/app.ts"});
  int line = 0;
  for (std::size_t begin = 0; begin < kCode.size(); ++line) {
    const auto end = kCode.find('\n', begin);
    const int source = line < 5 ? 0 : line < 9 ? 1 : 2;
    for (int column = 0; column < static_cast<int>(end - begin); ++column) {
      maker.add({.line = line,
                 .column = column,
                 .source = source,
                 .source_line = line + 100,
                 .source_column = column + 7});
    }
    begin = end + 1;
  }
  return kCode + maker.line() + "\n";
}

// `text` with each escaped new line as one.
std::string lines_of(std::string text) {
  for (auto at = text.find("\\n"); at != std::string::npos; at = text.find("\\n", at)) {
    text.replace(at, 2, "\n");
  }
  return text;
}

TEST(V8SourceMap, AThrownErrorShowsTheAuthorsFilesHoweverTheRunWasResumed) {
  for (const Resume resume : kEveryWay) {
    const Record record = run_task(bundled(), {.input = "-1", .resume = resume});
    EXPECT_EQ(record.status, SliceDoneStatus::failed);
    EXPECT_NE(lines_of(record.payload)
                  .find("RangeError: negative\n    at helper (lib/helper.ts:102:27)\n"
                        "    at app (src/app.ts:114:16)"),
              std::string::npos)
        << record.payload;
    ASSERT_EQ(record.calls.size(), 2u);
    EXPECT_EQ(record.calls[0].source_line, 111);
    EXPECT_EQ(record.calls[1].source_line, 112) << "the line that called the package";
  }
}

TEST(V8SourceMap, AFailedCallShowsWhereItWasMade) {
  for (const Resume resume : kEveryWay) {
    const auto respond = [](const protocol::CallFrame& call) {
      if (call.method != "helped") return echo(call);
      return Answer{.failed = true,
                    .payload = R"({"name":"HostCallError","message":"no","code":"c"})"};
    };
    const Record record = run_task(bundled(), {.input = "1", .respond = respond, .resume = resume});
    EXPECT_EQ(record.status, SliceDoneStatus::failed);
    const std::string stack =
        "HostCallError: no\n    at helper (lib/helper.ts:103:33)\n"
        "    at app (src/app.ts:114:16)";
    EXPECT_NE(lines_of(record.payload).find(stack), std::string::npos) << record.payload;
    ASSERT_EQ(record.logs.size(), 1u);
    EXPECT_EQ(record.logs[0].message.substr(0, stack.size()), stack)
        << "as the task itself sees it";
    EXPECT_EQ(record.calls.at(2).source_line, 103);
  }
}

TEST(V8SourceMap, TheTaskSeesTheSameStackInEveryReplay) {
  const Record warm = run_task(bundled(), {.input = "\"made\"", .resume = Resume::warm});
  EXPECT_EQ(lines_of(warm.payload).find("\"Error: made\n    at helper (lib/helper.ts:104:17)"), 0u)
      << warm.payload;
  for (const Resume resume : kEveryWay) {
    EXPECT_EQ(to_text(run_task(bundled(), {.input = "\"made\"", .resume = resume})), to_text(warm));
  }
}

TEST(V8SourceMap, WithoutAMapNothingIsDifferent) {
  const std::string code = R"js(module.exports = async () => {
    class Mine extends TypeError {}
    const made = [new Error('m'), new Mine('x\ny'), new Error(''), new AggregateError([], 'a')];
    const cause = { name: 'N', toString() { return 'text'; } };
    Error.captureStackTrace(cause);
    try { null.x; } catch (e) { made.push(e); }
    try { [1].map(() => { throw new RangeError('in a built-in'); }); } catch (e) { made.push(e); }
    try { await Promise.all([(async () => { await 1; throw new Error('async'); })()]); }
    catch (e) { made.push(e); }
    try { await services.s.fail(); } catch (e) { made.push(e); }
    const nameless = new Error('m'); nameless.name = ''; made.push(nameless);
    const bad = (thrown) => {
      const one = new Error('m');
      Object.defineProperty(one, 'message', { get() { throw thrown; } });
      return one;
    };
    made.push(bad(new RangeError('r')), bad(bad(1)), bad('text'), bad(undefined));
    const odd = new Error('m'); odd.name = { toString() { return 'odd'; } }; made.push(odd);
    return [...made, cause].map((one) => one.stack);
  };)js";
  // A map that says nothing: every frame passes through our own formatting and stays as it was.
  const std::string mapped = code + "\n" + MapMaker({"a.ts"}).line();
  const auto respond = [](const protocol::CallFrame&) {
    return Answer{.failed = true, .payload = R"({"message":"no","code":"c"})"};
  };
  const Record plain = run_task(code + "\n", {.respond = respond});
  EXPECT_EQ(plain.status, SliceDoneStatus::completed) << plain.payload;
  EXPECT_EQ(to_text(run_task(mapped, {.respond = respond})), to_text(plain));
}

TEST(V8SourceMap, TheTasksOwnHookComesFirst) {
  const std::string code = R"js(module.exports = async () => {
    Error.prepareStackTrace = (error, sites) => `${error.message} at ${sites[0].getLineNumber()}`;
    const hooked = new Error('m').stack;
    Error.prepareStackTrace = () => { throw new RangeError('of the hook'); };
    let thrown; try { new Error('m').stack; } catch (error) { thrown = error.message; }
    Error.prepareStackTrace = 'no function';
    return [hooked, thrown, new Error('m').stack.split('\n').length > 1];
  };)js";
  MapMaker maker({"a.ts"});
  maker.add({.line = 2, .column = 0, .source = 0, .source_line = 50});
  const Record record = run_task(code + "\n" + maker.line());
  EXPECT_EQ(record.payload, R"(["m at 3","of the hook",true])");
}

TEST(V8SourceMap, WhatTheTaskDoesToErrorsAndCallSitesHarmsOnlyIt) {
  const Record record =
      run_task(R"js(module.exports = async () => {
    const results = [];
    const bad = new Error('m');
    Object.defineProperty(bad, 'name', { get() { throw new Error('no name'); } });
    results.push(bad.stack.split('\n')[0]);
    globalThis.Error = class {};
    results.push(/^RangeError: r\n    at /.test(new RangeError('r').stack));
    let prototype;
    RangeError.__proto__.prepareStackTrace = (_, sites) => { prototype = sites[0].__proto__; return ''; };
    new RangeError('').stack;
    delete RangeError.__proto__.prepareStackTrace;
    Object.prototype[Symbol.toPrimitive] = () => 'primitive';
    const tries = [];
    for (const key of ['toString', 'getFileName', 'getLineNumber', 'getColumnNumber']) {
      prototype[key] = () => { throw 1; };
      tries.push(Reflect.defineProperty(prototype, key, { value: () => 'mine' }));
    }
    results.push(tries.join(), new RangeError('r').stack.split('\n')[1]);
    return results;
  };)js" + std::string("\n") +
                   MapMaker({"src/own.ts"})
                       .add({.line = 17, .source = 0, .source_line = 70, .source_column = 4})
                       .line(),
               {.name = "case"});
  EXPECT_EQ(
      record.payload,
      R"js(["<error: Error: no name>",true,"false,false,false,false","    at module.exports (src/own.ts:71:5)"])js");
}

TEST(V8SourceMap, ALoopInsideOfAStackIsEndedByTheLimits) {
  EngineOptions options = small_limits();
  for (const char* what : {"Error.prepareStackTrace = () => { for (;;); }; new Error('m').stack;",
                           "const e = new Error('m'); Object.defineProperty(e, 'message', "
                           "{ get() { for (;;); } }); e.stack;"}) {
    EngineProcess engine(options);
    TestRun run(task(what) + "\n" + MapMaker({"a.ts"}).line(), {});
    const auto done = run.begin_cold(engine);
    EXPECT_TRUE(has_code(done, "cpu_limit") || has_code(done, "wall_limit")) << done.payload;
  }
}

TEST(V8SourceMap, ABrokenMapLeavesThePositionsOfTheStoredCode) {
  for (const std::string& json :
       {std::string("{"), std::string(R"({"sources":["a"],"mappings":"AAAA!"})"),
        std::string(3'000'000, '['),
        R"({"sources":["a"],"mappings":")" + std::string(3'000'000, ';') + "\"}"}) {
    const Record record = run_task(
        "module.exports = async () => {\n  throw new Error('m');\n};\n" + MapMaker::line_of(json),
        {.name = "stored"});
    EXPECT_EQ(record.status, SliceDoneStatus::failed);
    EXPECT_NE(record.payload.find("stored.js:2:9"), std::string::npos) << record.payload;
  }
}

TEST(V8SourceMap, ProblemsOfLoadingNameTheAuthorsPlace) {
  EngineProcess engine;
  MapMaker maker({"src/a.ts"});
  maker.add({.line = 1, .column = 0, .source = 0, .source_line = 41, .source_column = 2});
  const std::string line = "\n" + maker.line() + "\n";
  const auto syntax = engine.check("\nconst a = ;" + line);
  EXPECT_FALSE(syntax.ok);
  EXPECT_EQ(syntax.source, "src/a.ts");
  EXPECT_EQ(syntax.line, 42);
  EXPECT_EQ(syntax.column, 3);
  const auto thrown = engine.check("\nthrow new Error('at the top');" + line);
  EXPECT_EQ(thrown.source, "src/a.ts");
  EXPECT_EQ(thrown.line, 42);
  const auto own = engine.check("const a = ;\n" + line);
  EXPECT_EQ(own.source, "") << "nobody wrote this line";
  EXPECT_EQ(own.line, 1);
  EXPECT_TRUE(engine.check("\nmodule.exports = () => 1;" + line).ok);

  EngineProcess other;
  TestRun run("\nthrow new Error('at the top');" + line, {});
  const auto done = run.begin_cold(other);
  EXPECT_NE(done.payload.find("src/a.ts:42:3"), std::string::npos) << done.payload;
}

TEST(V8SourceMap, AModuleWithAMapIsATask) {
  MapMaker maker({"src/m.ts"});
  maker.add({.line = 0, .column = 0, .source = 0, .source_line = 9});
  const Record record =
      run_task("export default async () => { throw new Error('m'); };\n" + maker.line());
  EXPECT_NE(record.payload.find("src/m.ts:10:1"), std::string::npos) << record.payload;
}

}  // namespace
}  // namespace sequential::engine::v8test
