// Random programs, each run twice: from its warm context and from its journal after every outcome.
// The seed of a failing one is in its message; SEQUENTIAL_FUZZ_SEED and SEQUENTIAL_FUZZ_PROGRAMS
// run others.

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "v8_harness.h"

namespace sequential::engine::v8test {
namespace {

// Writes a task out of nested statements that call, log, throw, loop and combine promises.
class ProgramWriter {
 public:
  explicit ProgramWriter(std::uint32_t seed) : state_(seed * 2'654'435'761u + 1) {}

  std::string write() {
    std::string text =
        "const call = (...a) => __callHostTool__('svc', 'echo', a);\n"
        "const fail = (...a) => __callHostTool__('svc', 'fail', a);\n"
        "module.exports = async (input) => {\n"
        "const t = []; let v0 = 1, v1 = 2, v2 = 3; const m = new Map(); const o = { n: 0, list: [] "
        "};\n"
        "class K { #p = 1; async inc(d) { this.#p += (await call(d)).seq; return this.#p; } get "
        "p() { return this.#p; } }\n"
        "const k = new K();\n"
        "async function* gen(n) { try { for (let i = 0; i < n; i++) yield (await call('g', "
        "i)).seq; } finally { t.push('gf'); } }\n";
    for (int i = 0; i < 5; ++i) text += statement(3);
    return text +
           "return { t, v: [v0, v1, v2], m: [...m], o, p: k.p, r: Math.random(), d: Date.now() "
           "};\n};\n";
  }

 private:
  std::uint32_t next(std::uint32_t below) {
    state_ = state_ * 1'664'525u + 1'013'904'223u;
    return (state_ >> 9) % below;
  }
  std::string variable() { return "v" + std::to_string(next(3)); }
  std::string number() { return std::to_string(next(7)); }
  std::string loop_name() { return "i" + std::to_string(loops_++); }

  std::string value(int depth) {
    switch (next(depth > 0 ? 9 : 4)) {
      case 0:
        return number();
      case 1:
        return variable();
      case 2:
        return "t.length";
      case 3:
        return "Math.floor(Math.random() * 10)";
      case 4:
        return "(" + value(depth - 1) + " + " + value(depth - 1) + ")";
      case 5:
        return "(await call(" + value(depth - 1) + ", " + number() + ")).seq";
      case 6:
        return "(await k.inc(" + value(depth - 1) + "))";
      case 7:
        return "(await fail(" + number() + ").catch((e) => e.code.length))";
      default:
        return "[...m.values()].reduce((a, b) => a + b, " + number() + ")";
    }
  }

  std::string block(int depth) {
    std::string text = "{ ";
    for (std::uint32_t i = 0, n = 1 + next(2); i < n; ++i) text += statement(depth - 1);
    return text + "}\n";
  }

  std::string statement(int depth) {
    const std::string v = variable();
    if (depth <= 0) {
      return next(2) == 0 ? "t.push(" + value(1) + ");\n" : v + " = " + value(1) + " % 1000;\n";
    }
    switch (next(13)) {
      case 0:
        return "if (" + value(1) + " % 2) " + block(depth) + "else " + block(depth);
      case 1: {
        const std::string i = loop_name();
        return "for (let " + i + " = 0; " + i + " < " + std::to_string(1 + next(3)) + "; " + i +
               "++) " + block(depth);
      }
      case 2:
        return "try " + block(depth) + "catch (e) { t.push(e.message); " + statement(depth - 1) +
               "}\nfinally { " + statement(depth - 1) + "}\n";
      case 3:
        return "try { if (" + value(1) + " % 3) throw new Error('x' + " + v +
               "); await fail(1); } catch (e) { t.push(e.name, e.message); }\n";
      case 4:
        return "t.push(...await Promise.all([" + number() + ", " + number() + ", " + number() +
               "].map(async (x) => { " + (next(2) == 0 ? "await call('pre', x); " : "") +
               "const r = await call(x); console.log('in', x, r); o.n += x; return r.seq; })));\n";
      case 5:
        return "t.push(await Promise.race([call('r', 1), call('r', 2), sleep(" + number() +
               ")]).then((r) => r?.seq ?? 's'));\n";
      case 6:
        return "t.push((await Promise.allSettled([call(1), fail(2), " + value(1) +
               "])).map((s) => s.status).join());\n";
      case 7:
        return "for await (const x of gen(" + std::to_string(1 + next(3)) +
               ")) { t.push(x); if (x % 4 === 0) break; }\n";
      case 8:
        return "m.set(" + value(1) + " % 5, " + value(1) + ");\n";
      case 9:
        return "console.log(" + v + ", o, t.length, m);\n";
      case 10:
        return "{ const p = call('late', " + v + "); o.list.push(" + value(2) +
               "); t.push((await p).seq); }\n";
      case 11:
        return "await new Promise((r) => { setTimeout(() => { t.push('timer'); r(); }, " +
               number() + "); }); \n";
      default:
        return v + " = await (async () => { " + statement(depth - 1) + "return " + value(2) +
               "; })();\n";
    }
  }

  std::uint32_t state_;
  int loops_ = 0;
};

std::uint32_t setting(const char* name, std::uint32_t otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr ? otherwise : static_cast<std::uint32_t>(std::strtoul(text, nullptr, 10));
}

TEST(V8Fuzz, RandomProgramsReplayToTheSameEnd) {
  const std::uint32_t first = setting("SEQUENTIAL_FUZZ_SEED", 1);
  const std::uint32_t programs = setting("SEQUENTIAL_FUZZ_PROGRAMS", 40);
  EngineProcess engine;
  EngineProcess other;
  std::size_t calls = 0;
  for (std::uint32_t seed = first; seed < first + programs; ++seed) {
    const std::string code = ProgramWriter(seed).write();
    RunOptions options;
    options.function_id = seed;
    options.id = seed;
    options.order_seed = seed % 3 == 0 ? 0 : seed;
    options.slices_max = 400;
    options.respond = [](const protocol::CallFrame& call) -> Answer {
      if (call.method == "fail")
        return {true, R"({"message":"failed","code":"c)" + std::to_string(call.seq) + "\"}"};
      if (call.service == "timer") return {};
      return echo(call);
    };
    const Record warm = TestRun(code, options).finish(engine);
    calls += warm.calls.size();
    options.resume = Resume::replay_same_engine;
    const Record replayed = TestRun(code, options).finish(other);
    ASSERT_EQ(to_text(replayed), to_text(warm)) << "seed " << seed << "\n" << code;
    ASSERT_EQ(warm.status, protocol::SliceDoneStatus::completed)
        << "seed " << seed << warm.payload << code;
  }
  EXPECT_GT(calls, programs);
}

}  // namespace
}  // namespace sequential::engine::v8test
