#include "self_test.h"

#include <string>
#include <string_view>

#include "slice.h"
#include "task_isolate.h"
#include "task_loader.h"
#include "text.h"
#include "watchdog.h"

namespace sequential::engine::v8host {
namespace {

// One-character strings, numbers, dates and stacks are where restored heaps went wrong before.
constexpr std::string_view kTask = R"js(
module.exports = async function (input) {
  const record = { f: 1, é: 2, x: input.x };
  const got = await __callHostTool__('self', 'test', [Object.keys(record).join('')]);
  let refused = 0;
  try { eval('1'); } catch { refused++; }
  if (typeof WebAssembly === 'undefined' && typeof SharedArrayBuffer === 'undefined') refused++;
  return { got, refused, now: Date.now(), date: new Date().toISOString(), at: [1, 2].at(-1),
           stack: /self-test\.js:\d+/.test(new Error('e').stack), u: new URL('http://ä.de/?q').href,
           n: new Intl.NumberFormat('de').format(1234.5) };
};
)js";
constexpr std::string_view kExpected =
    R"({"got":["a",1],"refused":2,"now":5,"date":"1970-01-01T00:00:00.005Z","at":2,"stack":true,)"
    R"("u":"http://xn--4ca.de/?q","n":"1.234,5"})";

Error failed(const std::string& what) { return make_error(Errc::internal, "self-test: " + what); }

}  // namespace

Result<void> run_self_test(const Platform& platform, BaseBlob& base) {
  const Limits limits;
  Watchdog watchdog(limits.cpu_ms, limits.wall_ms);
  SliceHost host{watchdog, limits, {}, {}};
  TaskIsolate isolate(platform, base, limits, 1);
  isolate.runs = 1;
  TaskFunction function;
  function.name = "self-test";
  function.code = kTask;
  protocol::Begin begin;
  begin.run = 1;
  begin.name = function.name;
  begin.input = R"({"x":3})";
  begin.seed = std::string(16, 'a');
  begin.started_at_ms = 1;

  const v8::Isolate::Scope entered(isolate.isolate());
  const v8::HandleScope handles(isolate.isolate());
  v8::Local<v8::Context> context;
  if (!isolate.new_context().ToLocal(&context)) return failed("no context");
  {
    Slice slice(host, begin, isolate);
    SEQUENTIAL_TRY(const auto done, slice.run_cold(context, function));
    if (done.status != protocol::SliceDoneStatus::suspended || done.calls.size() != 1 ||
        done.calls.front().args != "[\"féx\"]") {
      return failed("the task did not make its call: " + done.payload);
    }
  }
  protocol::Begin resume;
  resume.run = 1;
  resume.cold = false;
  resume.calls_recorded = 1;
  resume.delivered_through = 1;
  resume.outcomes = {{.seq = 1, .delivered_as = 1, .payload = R"(["a",1])", .at_ms = 5}};
  Slice slice(host, resume, isolate);
  SEQUENTIAL_TRY(const auto done, slice.run_warm(context, -1));
  if (done.payload != kExpected) return failed("the result is " + done.payload);
  return success();
}

}  // namespace sequential::engine::v8host
