// F40 and the process itself: what the kernel refuses, frames the protocol does not allow, memory
// that runs out, and the descriptors and environment of the engine.

#include <gtest/gtest.h>
#include <signal.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "v8_harness.h"

namespace sequential::engine::v8test {
namespace {

using protocol::SliceDoneStatus;

#ifdef SEQUENTIAL_FAULT_POINTS
class V8Probe : public ::testing::TestWithParam<const char*> {};

TEST_P(V8Probe, IsRefusedOrKilled) {
  for (const bool jit : {true, false}) {
    EngineOptions options;
    options.arguments = {"--probe", GetParam()};
    options.expect_ready = false;
    options.hello.jit = jit;
    EngineProcess engine(options);
    const Exit ended = engine.wait();
    EXPECT_TRUE(ended.signal == SIGSYS || ended.code == 1)
        << GetParam() << " code " << ended.code << " signal " << ended.signal;
  }
}

INSTANTIATE_TEST_SUITE_P(F40, V8Probe,
                         ::testing::Values("open", "create", "unlink", "socket", "unix_socket",
                                           "connect", "fork", "thread", "exec", "ptrace",
                                           "kill_parent", "unshare", "memfd", "process_vm_readv"));

TEST(V8Sandbox, WithoutACompilerNoMemoryBecomesExecutable) {
  EngineOptions options;
  options.arguments = {"--probe", "write_exec_memory"};
  options.expect_ready = false;
  options.hello.jit = false;
  EngineProcess engine(options);
  EXPECT_EQ(engine.wait().signal, SIGSYS);
}
#endif

std::string proc_file(const EngineProcess& engine, const std::string& name) {
  std::ifstream file("/proc/" + std::to_string(engine.pid()) + "/" + name);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(V8Sandbox, TheEngineIsSealedAndHasOnlyItsSocket) {
  EngineProcess engine;
  const std::string status = proc_file(engine, "status");
  EXPECT_NE(status.find("NoNewPrivs:\t1"), std::string::npos);
  EXPECT_NE(status.find("Seccomp:\t2"), std::string::npos);
  EXPECT_NE(status.find("CapEff:\t0000000000000000"), std::string::npos);
  EXPECT_NE(status.find("CapPrm:\t0000000000000000"), std::string::npos);
  const std::string limits = proc_file(engine, "limits");
  EXPECT_NE(limits.find("Max core file size        0"), std::string::npos);
  EXPECT_NE(limits.find("Max file size             0"), std::string::npos);
  if (!under_sanitizer()) {
    EXPECT_EQ(limits.find("Max data size             unlimited"), std::string::npos);
  }
  std::string open;
  for (const auto& entry :
       std::filesystem::directory_iterator("/proc/" + std::to_string(engine.pid()) + "/fd")) {
    open += entry.path().filename().string() + ";";
  }
  EXPECT_EQ(open.size(), std::string("0;1;2;3;").size()) << open;
  // Every thread is under the filter.
  for (const auto& entry :
       std::filesystem::directory_iterator("/proc/" + std::to_string(engine.pid()) + "/task")) {
    std::ifstream file(entry.path() / "status");
    std::stringstream text;
    text << file.rdbuf();
    EXPECT_NE(text.str().find("Seccomp:\t2"), std::string::npos);
  }
}

TEST(V8Sandbox, WithoutACompilerTasksRunAsWell) {
  EngineOptions options;
  options.hello.jit = false;
  EngineProcess engine(options);
  const Record record = TestRun(R"js(
    module.exports = async () => {
      let s = 0; for (let i = 0; i < 20000; i++) s += i % 7;
      const r = await services.s.m(s, /a+b/.test('xaab'));
      return [r.args, new URL('http://x.y').href, crypto.randomUUID().length];
    };)js",
                                {})
                            .finish(engine);
  EXPECT_EQ(record.payload, R"([[59997,true],"http://x.y/",36])");
}

// --- frames

// The engine must end by itself with a status of its own, and say why.
void expect_protocol_exit(EngineProcess& engine) {
  while (engine.receive()) {
  }
  const Exit ended = engine.wait();
  EXPECT_EQ(ended.signal, 0);
  EXPECT_EQ(ended.code, 65);
}

TEST(V8Frames, GarbageEndsTheEngine) {
  for (const std::string& bytes :
       {std::string(8, '\0'), std::string("\xff\xff\xff\xff\x02", 5),
        std::string("\x05\0\0\0hello", 9), std::string("\x01\0\0\0\x80", 5),
        std::string("\x02\0\0\0\x02\x07", 6), std::string("\x01\0\0\0\x02", 5),
        std::string("\0\0\0\x40\x02", 5)}) {
    EngineProcess engine;
    engine.send_bytes(bytes);
    expect_protocol_exit(engine);
  }
}

TEST(V8Frames, AFirstFrameThatIsNoHelloEndsTheEngine) {
  for (const std::string& bytes :
       {std::string("\xff\xff\xff\x7f\x01", 5), std::string("\0\0\0\0", 4),
        std::string("\x01\0\0\0\x01", 5),
        protocol::encode(protocol::ToEngine(protocol::Forget{.run = 1}))}) {
    EngineOptions options;
    options.send_hello = false;
    EngineProcess engine(options);
    engine.send_bytes(bytes);
    expect_protocol_exit(engine);
  }
  EngineOptions options;
  options.hello.version = 99;
  options.expect_ready = false;
  EngineProcess engine(options);
  expect_protocol_exit(engine);
}

TEST(V8Frames, FramesOutOfOrderEndTheEngine) {
  {
    EngineProcess engine;
    protocol::Journal page;
    page.run = 1;
    engine.send(page);
    expect_protocol_exit(engine);
  }
  {
    EngineProcess engine;
    engine.send(EngineOptions::default_hello());
    expect_protocol_exit(engine);
  }
  TestRun run("module.exports = async () => { await services.s.m(1); };", {});
  {
    EngineProcess engine;  // code that was never sent
    engine.send(run.cold_frame(false));
    expect_protocol_exit(engine);
  }
  {
    EngineProcess engine;  // a page is due
    auto frame = run.cold_frame(true);
    frame.calls_recorded = 1;
    engine.send(frame);
    engine.send(protocol::Forget{.run = 7});
    expect_protocol_exit(engine);
  }
  {
    EngineProcess engine;  // rows with a gap
    auto frame = run.cold_frame(true);
    frame.calls_recorded = 2;
    engine.send(frame);
    protocol::Journal page;
    page.run = 7;
    page.rows.emplace_back();
    page.rows.back().seq = 2;
    engine.send(page);
    expect_protocol_exit(engine);
  }
}

TEST(V8Frames, ABrokerThatDiesInTheMiddleOfAFrameIsAnEnd) {
  EngineProcess engine;
  const std::string frame =
      protocol::encode(protocol::ToEngine(protocol::Check{.name = "n", .code = "c"}));
  engine.send_bytes(frame.substr(0, frame.size() - 1));
  engine.close_socket();
  const Exit ended = engine.wait();
  EXPECT_EQ(ended.code, 0);
}

TEST(V8Frames, OddPayloadsFailTheRunNotTheEngine) {
  EngineProcess engine;
  TestRun input("module.exports = async (i) => i;", {.input = "{broken", .id = 1});
  EXPECT_EQ(input.begin_cold(engine).status, SliceDoneStatus::failed);
  TestRun run("module.exports = async () => await services.s.m(1);", {.id = 2, .function_id = 2});
  run.begin_cold(engine);
  run.record_outcome(1, {false, "[1,"});
  EXPECT_EQ(run.deliver_warm(engine).status, SliceDoneStatus::failed);
}

TEST(V8Frames, PayloadsComeThroughByteForByte) {  // F28
  const std::string texts[] = {R"("\u0000")",
                               R"("\ud800 lone")",
                               "9007199254740993",
                               "1e400",
                               R"({"a":1,"a":2,"__proto__":{"x":1}})",
                               R"({"2":0,"1":0,"b":0,"a":0})",
                               "\"" + std::string(5 << 20, 'x') + "\"",
                               "\"\xF0\x9F\x98\x80\xC3\xA9\"",
                               std::string(400, '[') + std::string(400, ']')};
  std::string expected[] = {R"("\u0000")",
                            R"("\ud800 lone")",
                            "9007199254740992",
                            "null",
                            R"({"a":2,"__proto__":{"x":1}})",
                            R"({"1":0,"2":0,"b":0,"a":0})",
                            texts[6],
                            texts[7],
                            texts[8]};
  EngineProcess engine;
  for (std::size_t i = 0; i < std::size(texts); ++i) {
    TestRun run("module.exports = async () => await services.s.m();",
                {.id = static_cast<std::int64_t>(i) + 1});
    run.begin_cold(engine, i == 0);
    run.record_outcome(1, {false, texts[i]});
    EXPECT_EQ(run.deliver_warm(engine).payload, expected[i]);
  }
}

}  // namespace
}  // namespace sequential::engine::v8test
