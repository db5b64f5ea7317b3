// Tasks that have replaced the language's built-ins, as polyfills and worse do: the runtime's own
// functions work on what it captured before.

#include <gtest/gtest.h>

#include <string>

#include "v8_harness.h"

namespace sequential::engine::v8test {
namespace {

using protocol::SliceDoneStatus;

// Every method and getter that can be replaced throws; `constructor` stays, for `await` looks at it.
const std::string kSabotage = R"js(
const sabotage = () => {
  const { ownKeys, getOwnPropertyDescriptor: descriptor, defineProperty, getPrototypeOf } = Reflect;
  const bad = () => { throw new Error('sabotaged'); };
  const typed = getPrototypeOf(Uint8Array.prototype);
  const iterators = [[][Symbol.iterator](), new Map().entries(), new Set().values(), ''[Symbol.iterator]()];
  const objects = [Array, Object, Promise, Map, Set, String, Number, Boolean, Symbol, RegExp, Date, Error, TypeError,
                   RangeError, ArrayBuffer, DataView, Uint8Array, Uint32Array, getPrototypeOf(Uint8Array), JSON,
                   Math, Reflect, Proxy, BigInt, WeakMap, Intl.Collator];
  const prototypes = [];
  for (let i = 0; i < objects.length; i++) {
    if (objects[i].prototype) prototypes[prototypes.length] = objects[i].prototype;
  }
  const all = [...objects, ...prototypes, ...iterators.map((i) => getPrototypeOf(i)), getPrototypeOf(getPrototypeOf([].values()))];
  const given = [Function.prototype.call, Function.prototype.apply, Function.prototype.bind];
  for (let i = 0; i < given.length; i++) defineProperty(Function.prototype, given[i].name, { value: bad });
  for (let i = 0; i < all.length; i++) {
    const keys = ownKeys(all[i]);
    for (let k = 0; k < keys.length; k++) {
      const old = descriptor(all[i], keys[k]);
      if (!old.configurable || keys[k] === 'constructor' || keys[k] === '__proto__') continue;
      if (typeof old.value === 'function') defineProperty(all[i], keys[k], { value: bad });
      else if (old.get) defineProperty(all[i], keys[k], { get: bad });
    }
  }
  const set = { get: () => undefined, set: bad, configurable: true };
  defineProperty(Array.prototype, '0', set);
  defineProperty(Array.prototype, '1', set);
  defineProperty(Array.prototype, 'toJSON', { value: bad });
  defineProperty(Object.prototype, 'toJSON', { value: bad });
  const names = ['Array', 'Object', 'Promise', 'Map', 'Set', 'Uint8Array', 'Uint32Array', 'DataView', 'ArrayBuffer',
                 'BigInt', 'Number', 'Math', 'JSON', 'Reflect', 'Symbol', 'String', 'Error', 'TypeError', 'Date',
                 'Headers', 'Response', 'CryptoKey', 'AbortSignal', 'DOMException'];
  for (let i = 0; i < names.length; i++) defineProperty(globalThis, names[i], { value: bad, configurable: true });
};
)js";

struct Row {
  const char* name;
  const char* body;      // after the sabotage, which it calls itself
  const char* expected;  // the result
  const char* call;      // the first call's arguments
};
void PrintTo(const Row& row, std::ostream* out) { *out << row.name; }

class V8Builtins : public ::testing::TestWithParam<Row> {};

TEST_P(V8Builtins, AreNotNeededOnceTheRuntimeIsUp) {
  RunOptions options;
  options.respond = [](const protocol::CallFrame& call) -> Answer {
    if (call.args.find("fails") != std::string::npos) {
      return {true, R"({"name":"TimeoutError","code":"timeout","message":"late"})"};
    }
    if (call.service == "http") {
      return {false, R"({"status":201,"headers":[["X-A","b"]],"body":"hello","url":"http://a/"})"};
    }
    if (call.method == "webhook") {
      return {false, R"({"name":"webhook:1","url":"http://h/1","token":"t","expiresMs":1000})"};
    }
    return {false, R"("answer")"};
  };
  const Record record =
      run_task(kSabotage + "module.exports = async () => {\n" + GetParam().body + "\n};", options);
  EXPECT_EQ(record.payload, GetParam().expected);
  ASSERT_EQ(record.calls.empty(), *GetParam().call == '\0');
  if (!record.calls.empty()) {
    EXPECT_EQ(record.calls[0].args, GetParam().call);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Of, V8Builtins,
    ::testing::Values(
        Row{"callTask", "sabotage(); return await callTask('child', { __proto__: null, a: 1 });",
            "\"answer\"", R"([{"task":"child","input":{"a":1}}])"},
        Row{"AFailedCall",
            "sabotage(); try { await callTask('fails'); } catch (e) {\n"
            "  return `${e.name} ${e.code} ${e.message}`; }",
            "\"TimeoutError timeout late\"", R"([{"task":"fails","input":{}}])"},
        Row{"waitForSignal",
            "sabotage(); return await waitForSignal('go', { __proto__: null, timeout: 5 });",
            "\"answer\"", R"(["go",{"timeoutMs":5}])"},
        Row{"createWebhook",
            "sabotage(); const hook = await createWebhook({ method: 'post', expires: 7 });\n"
            "return hook.url + await hook.wait();",
            "\"http://h/1answer\"", R"([{"methods":["POST"],"expiresMs":7}])"},
        Row{"fetch",
            "const status = Object.getOwnPropertyDescriptor(Response.prototype, 'status').get;\n"
            "Headers.prototype.has = Headers.prototype.set = () => { throw 1; };\n"
            "sabotage(); const r = await fetch('http://a', { method: 'put', body: 'b', headers: { __proto__: null, 'X-B': 'c' } });\n"
            "return `${r.status} ${await r.text()}`;",
            "\"201 hello\"",
            R"([{"url":"http://a","method":"PUT","body":"b","headers":[["x-b","c"],["content-type","text/plain;charset=UTF-8"]]}])"},
        Row{"Request",
            "const request = new Request('http://a/b', { method: 'POST', body: 'x' });\n"
            "Object.defineProperty(URL.prototype, 'href', { get() { return 'http://evil/'; } });\n"
            "return (await fetch(new Request('http://a/b'))).status;",
            "201",
            R"([{"url":"http://a/b","method":"GET","headers":[],"redirect":"follow"}])"},
        Row{"setAttributesAndSetStatus",
            "sabotage(); setAttributes({ __proto__: null, n: 12, t: 'ü' });\n"
            "setStatus({ __proto__: null, a: 1 }); progress(1, 2, 'm'); return 'set';",
            "\"set\"", ""},
        Row{"sleepAndTimers",
            "const later = (resolve) => setTimeout(resolve, 5), P = Promise;\n"
            "sabotage(); await sleep(3); await new P(later); return 'slept';",
            "\"slept\"", "[3]"},
        Row{"AbortSignals",
            "const own = new AbortController(), any = AbortSignal.any([own.signal, task.signal]);\n"
            "sabotage(); const waits = sleep(1e9, { signal: any }); own.abort('why');\n"
            "try { await waits; } catch (e) { return e + any.aborted; }",
            "\"whytrue\"", "[1000000000]"}),
    [](const auto& row) { return row.param.name; });

const char* const kCrypto = R"js(
const data = new Uint8Array([97, 98, 99]), U8 = Uint8Array;
const hex = (buffer) => {
  const bytes = new U8(buffer);
  let text = '';
  for (let i = 0; i < 8; i++) text += '0123456789abcdef'[bytes[i] >> 4] + '0123456789abcdef'[bytes[i] & 15];
  return text;
};
module.exports = async () => {
  const key = new U8(200).fill(7), { subtle } = crypto, names = ['SHA-1', 'SHA-256', 'SHA-384', 'SHA-512'];
  let out = '';
  HOSTILE
  for (let i = 0; i < 4; i++) {
    const hmac = { name: 'HMAC', hash: names[i] };
    const both = await subtle.importKey('raw', key, hmac, false, ['sign', 'verify']);
    const signature = await subtle.sign('HMAC', both, data);
    out += `${hex(await subtle.digest(names[i], data))} ${hex(signature)} ${await subtle.verify('HMAC', both, signature, data)} `;
  }
  const verifies = await subtle.importKey('raw', data, { name: 'HMAC', hash: 'SHA-1' }, false, ['verify']);
  try { await subtle.sign('HMAC', verifies, data); out += 'signed'; } catch (e) { out += e.name; }
  return out;
};)js";

TEST(V8Builtins, CryptoIsTheSameWhateverIsReplaced) {
  const auto with = [](const std::string& hostile) {
    std::string code = kSabotage + kCrypto;
    return run_task(code.replace(code.find("HOSTILE"), 7, hostile)).payload;
  };
  const std::string plain = with("");
  // Python: hmac.new(b"\x07" * 200, b"abc", "sha1").hexdigest()
  EXPECT_EQ(plain.substr(0, 39), "\"a9993e364706816a 82b540a5074bee90 true");
  EXPECT_NE(plain.find("InvalidAccessError"), std::string::npos) << plain;
  EXPECT_EQ(with("sabotage();"), plain);
  EXPECT_EQ(with("Array.prototype.includes = () => true;"), plain);
}

TEST(V8Builtins, AThrowingIteratorDoesNotTurnAFailureIntoAnother) {
  RunOptions options;
  options.respond = [](const auto&) {
    return Answer{true, R"({"code":"cancelled","message":"m"})"};
  };
  const Record record = run_task(
      "module.exports = async () => {\n"
      "  Array.prototype[Symbol.iterator] = () => { throw new Error('mine'); };\n"
      "  await services.s.m();\n};",
      options);
  EXPECT_EQ(record.status, SliceDoneStatus::failed);
  EXPECT_NE(record.payload.find(R"("code":"cancelled")"), std::string::npos) << record.payload;
}

TEST(V8Builtins, AWebhookThatIsWrittenOrCopiedWaitsForNothing) {
  RunOptions options;
  options.respond = [](const auto&) {
    return Answer{false, R"({"name":"webhook:1","url":"u","token":"t","expiresMs":0})"};
  };
  const Record record = run_task(
      "module.exports = async () => { const hook = await createWebhook();\n"
      "return [Object.keys({ ...hook }).join(), JSON.stringify(hook).length > 0]; };",
      options);
  EXPECT_EQ(record.payload, R"(["url,token,expires",true])");
  EXPECT_EQ(record.calls.size(), 1u);
}

}  // namespace
}  // namespace sequential::engine::v8test
