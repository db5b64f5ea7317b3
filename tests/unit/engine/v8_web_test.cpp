// The web's tools in the task's global scope, against what the specifications say. One expression a
// row; the results are compared as JSON.

#include <gtest/gtest.h>

#include <ostream>
#include <string>

#include "v8_harness.h"

namespace sequential::engine::v8test {
namespace {

struct Row {
  const char* expression;
  const char* expected;
};
void PrintTo(const Row& row, std::ostream* out) { *out << row.expression; }

class V8Web : public ::testing::TestWithParam<Row> {};

TEST_P(V8Web, BehavesAsSpecified) {
  const Record record = run_task(
      std::string(
          "module.exports = async () => {\nconst name = (f) => { try { f(); return 'none'; } "
          "catch (e) { return e.name; } };\nreturn ") +
      GetParam().expression + ";\n};");
  EXPECT_EQ(record.payload, GetParam().expected) << GetParam().expression;
}

INSTANTIATE_TEST_SUITE_P(
    Text, V8Web,
    ::testing::Values(
        Row{"[...new TextEncoder().encode('aé€😀\\ud800')]",
            "[97,195,169,226,130,172,240,159,152,128,239,191,189]"},
        Row{"(() => { const u = new Uint8Array(5); const r = new TextEncoder().encodeInto('a€😀', "
            "u); return [r.read, r.written, ...u]; })()",
            "[2,4,97,226,130,172,0]"},
        Row{"new TextDecoder().decode(Uint8Array.of(0xEF, 0xBB, 0xBF, 97, 0xFF, 0xE2, 0x82))",
            "\"a\xEF\xBF\xBD\xEF\xBF\xBD\""},
        Row{"new TextDecoder('utf-8', { ignoreBOM: true }).decode(Uint8Array.of(0xEF, 0xBB, 0xBF, "
            "97)).length",
            "2"},
        Row{"name(() => new TextDecoder('utf-8', { fatal: true }).decode(Uint8Array.of(0xC0)))",
            "\"TypeError\""},
        Row{"(() => { const d = new TextDecoder(); return d.decode(Uint8Array.of(0xE2, 0x82), { "
            "stream: true }) + '|' + d.decode(Uint8Array.of(0xAC)); })()",
            "\"|\xE2\x82\xAC\""},
        Row{"new TextDecoder('utf-16le').decode(Uint8Array.of(0x3D, 0xD8, 0x00, 0xDE, 0x3D, 0xD8))",
            "\"\xF0\x9F\x98\x80\xEF\xBF\xBD\""},
        Row{"new TextDecoder('latin1').decode(Uint8Array.of(0x80, 0xE4)) + new "
            "TextDecoder('ascii').encoding",
            "\"\xE2\x82\xAC\xC3\xA4windows-1252\""},
        Row{"name(() => new TextDecoder('klingon'))", "\"RangeError\""},
        Row{"[btoa(''), btoa('f'), btoa('fo'), btoa('foo'), btoa('\\xff\\xfe')]",
            R"(["","Zg==","Zm8=","Zm9v","//4="])"},
        Row{"[atob('Zm9v'), atob(' Zg = = '), atob('Zm8'), atob('')]", R"(["foo","f","fo",""])"},
        Row{"[name(() => btoa('€')), name(() => atob('a')), name(() => atob('a=b=')), name(() => "
            "atob('Zg=')), name(() => atob('é'))]",
            R"(["InvalidCharacterError","InvalidCharacterError","InvalidCharacterError","InvalidCharacterError","InvalidCharacterError"])"}));

INSTANTIATE_TEST_SUITE_P(
    Url, V8Web,
    ::testing::Values(
        Row{"new URL('../b?x=1#y', 'HTTP://user:pa%20ss@EXAMPLE.com:80/a/c/d').href",
            "\"http://user:pa%20ss@example.com/a/b?x=1#y\""},
        Row{"(() => { const u = new URL('https://a.b/c'); u.searchParams.set('q', 'a b&c'); u.hash "
            "= 'h'; u.port = '443'; return [u.search, u.href, u.port]; })()",
            R"(["?q=a+b%26c","https://a.b/c?q=a+b%26c#h",""])"},
        Row{"new URL('http://faß.de/ü').href + new URL('http://xn--fa-hia.de').hostname",
            "\"http://xn--fa-hia.de/%C3%BCxn--fa-hia.de\""},
        Row{"[new URL('http://0x7f.1/').hostname, new URL('http://[::1]:8080/').host]",
            R"(["127.0.0.1","[::1]:8080"])"},
        Row{"[name(() => new URL('nope')), URL.canParse('x:y'), URL.canParse('//x')]",
            R"(["TypeError",true,false])"},
        Row{"[...new URLSearchParams('a=1&b=%20x&a=2')].join('|') + new URLSearchParams({ z: '1', "
            "y: 'ä' })",
            "\"a,1|b, x|a,2z=1&y=%C3%A4\""},
        Row{"JSON.stringify({ u: new URL('http://a') })", R"("{\"u\":\"http://a/\"}")"}));

INSTANTIATE_TEST_SUITE_P(
    Clone, V8Web,
    ::testing::Values(
        Row{"(() => { const a = { d: new Date(3), r: /x/gi, m: new Map([[{}, new Set([1n])]]), n: "
            "NaN, u: undefined, h: [1, , 3] }; a.self = a; "
            "const b = structuredClone(a); return [b !== a, b.self === b, b.d.getTime(), "
            "String(b.r), [...b.m.values()][0].has(1n), Number.isNaN(b.n), 'u' in b, 1 in b.h]; "
            "})()",
            "[true,true,3,\"/x/gi\",true,true,true,false]"},
        Row{"(() => { const b = new Uint8Array([1, 2]); const c = structuredClone(b, { transfer: "
            "[b.buffer] }); return [b.length, [...c]]; })()",
            "[0,[1,2]]"},
        Row{"[name(() => structuredClone(() => 1)), name(() => structuredClone(Symbol('x'))), "
            "name(() => structuredClone({ get a() { throw new RangeError('q'); } }))]",
            R"(["DataCloneError","DataCloneError","RangeError"])"},
        Row{"(() => { const e = structuredClone(new RangeError('m')); return [e instanceof "
            "RangeError, e.message]; })()",
            "[true,\"m\"]"}));

INSTANTIATE_TEST_SUITE_P(
    Events, V8Web,
    ::testing::Values(
        Row{"(() => { const t = new EventTarget(), seen = []; const l = (e) => seen.push(e.type, "
            "e.target === t, e.eventPhase); "
            "t.addEventListener('a', l); t.addEventListener('a', l); t.addEventListener('a', { "
            "handleEvent() { seen.push('obj'); } }, { once: true }); "
            "t.dispatchEvent(new Event('a')); t.removeEventListener('a', l); t.dispatchEvent(new "
            "Event('a')); return seen; })()",
            R"(["a",true,2,"obj"])"},
        Row{"(() => { const t = new EventTarget(); t.addEventListener('x', (e) => "
            "e.preventDefault()); "
            "return [t.dispatchEvent(new Event('x', { cancelable: true })), t.dispatchEvent(new "
            "Event('x'))]; })()",
            "[false,true]"},
        Row{"(() => { const c = new AbortController(), seen = []; c.signal.onabort = (e) => "
            "seen.push(e.type, e.isTrusted); c.abort('why'); c.abort('again'); "
            "return [seen, c.signal.aborted, c.signal.reason, name(() => "
            "c.signal.throwIfAborted())]; })()",
            R"([["abort",true],true,"why",null])"},
        Row{"(() => { const a = new AbortController(), s = AbortSignal.any([a.signal, new "
            "AbortController().signal]); a.abort(); "
            "return [s.aborted, s.reason === a.signal.reason, s.reason.name, s.reason.code, "
            "s.reason instanceof DOMException, s.reason instanceof Error]; })()",
            R"([true,true,"AbortError",20,true,true])"},
        Row{"(() => { const a = new AbortController(), b = new AbortController(), seen = []; const s = "
            "AbortSignal.any([a.signal, b.signal]), t = AbortSignal.any([s, a.signal]); "
            "t.onabort = () => seen.push('t', s.aborted, t.reason); const no = () => seen.push('no'); "
            "s.addEventListener('abort', no); s.removeEventListener('abort', no); b.abort(1); "
            "a.abort(2); const late = AbortSignal.any([a.signal, b.signal]); "
            "s.addEventListener('abort', no); return [seen, s.reason, t.reason, late.reason, "
            "late.aborted, name(() => AbortSignal.any([5])), AbortSignal.any([]).aborted]; })()",
            R"([["t",true,1],1,1,2,true,"TypeError",false])"},
        Row{"(() => { const a = new AbortController(), t = new EventTarget(), seen = []; const s = "
            "AbortSignal.any([a.signal]); t.addEventListener('x', () => seen.push('x'), { signal: s "
            "}); t.dispatchEvent(new Event('x')); a.abort(); t.dispatchEvent(new Event('x')); "
            "return seen; })()",
            R"(["x"])"},
        Row{"[AbortSignal.abort().aborted, name(() => new AbortSignal()), new CustomEvent('c', { "
            "detail: 5 }).detail]",
            R"([true,"TypeError",5])"},
        Row{"await new Promise((r) => { const s = AbortSignal.timeout(50); "
            "s.addEventListener('abort', () => r(s.reason.name)); })",
            "\"TimeoutError\""}));

INSTANTIATE_TEST_SUITE_P(
    Library, V8Web,
    ::testing::Values(
        Row{"[[1, 2, 3].at(-1), 'abc'.at(-2), [1, 2, 3].findLast((x) => x < 3), [1, "
            "2].findLastIndex((x) => x === 9), Object.hasOwn({ a: 1 }, 'a'), new "
            "Int8Array([5]).at(-1)]",
            R"([3,"b",2,-1,true,5])"},
        Row{"[typeof Date(), new Date(2020, 0).getTime(), Date.UTC(2020, 0), new Date(0) "
            "instanceof Date, new (class X extends Date {})(5).getTime(), Date.length, Date.name]",
            R"(["string",1577836800000,1577836800000,true,5,7,"Date"])"},
        Row{"[/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/"
            ".test(crypto.randomUUID()), name(() => crypto.getRandomValues(new Float32Array(1))), "
            "name(() => crypto.getRandomValues(new Uint8Array(70000))), crypto.getRandomValues(new "
            "Uint16Array(3)).length]",
            R"([true,"TypeMismatchError","QuotaExceededError",3])"},
        Row{"[new Intl.NumberFormat().resolvedOptions().locale, new "
            "Intl.DateTimeFormat().resolvedOptions().timeZone, "
            "Intl.NumberFormat('de').format(1.5), "
            "new Intl.Locale('de-Latn-at').maximize().language, name(() => new "
            "Intl.NumberFormat('xx-invalid-locale-x'))]",
            R"(["en-US","UTC","1,5","de","RangeError"])"},
        Row{"[[...new Intl.Segmenter('en', { granularity: 'word' }).segment('a bc')].map((s) => "
            "s.segment).join('|'), new Date(0).getTimezoneOffset()]",
            R"(["a| |bc",0])"},
        Row{"await new Promise((r) => queueMicrotask(() => r('micro')))", "\"micro\""},
        Row{"(() => { class A { #x = 1; static { A.y = 2; } has(o) { return #x in o; } } return "
            "[A.y, new A().has(new A()), [1, 2].flat().includes(2), 'x'.replaceAll('x', 'y'), 2n "
            "** 64n + '']; })()",
            R"([2,true,true,"y","18446744073709551616"])"}));

Answer http(const protocol::CallFrame& call) {
  if (call.args.find("broken") != std::string::npos) {
    return {true, R"({"name":"HostCallError","message":"refused","code":"service_unavailable"})"};
  }
  if (call.args.find("binary") != std::string::npos) {
    return {
        false,
        R"({"status":200,"statusText":"OK","url":"http://x/","headers":[],"bodyBase64":"AP+A"})"};
  }
  return {
      false,
      R"({"status":404,"statusText":"Not Found","url":"http://x/final","redirected":true,)"
      R"("headers":[["Content-Type","application/json"],["set-cookie","a=1"],["Set-Cookie","b=2"],["X-A","1"],["x-a","2"]],)"
      R"("body":"{\"a\":[1]}"})"};
}

std::string fetch_task(const std::string& body, std::string* args = nullptr) {
  const Record record =
      run_task("module.exports = async () => {\n" + body + "\n};", {.respond = http});
  if (args != nullptr && !record.calls.empty()) *args = record.calls[0].args;
  return record.payload;
}

TEST(V8Fetch, IsOneCallOfTheHttpService) {
  std::string args;
  EXPECT_EQ(
      fetch_task(R"js(
    const r = await fetch(new URL('http://x/a b'), { method: 'post', headers: { 'X-One': ' 1 ' }, body: JSON.stringify({ b: 'ü' }) });
    return [r.status, r.ok, r.statusText, r.url, r.redirected, r.headers.get('CONTENT-TYPE'), r.headers.get('x-a'),
            r.headers.getSetCookie(), [...r.headers.keys()], await r.json(), r.bodyUsed];)js",
                 &args),
      R"([404,false,"Not Found","http://x/final",true,"application/json","1, 2",["a=1","b=2"],)"
      R"(["content-type","set-cookie","set-cookie","x-a"],{"a":[1]},true])");
  EXPECT_EQ(args, R"([{"url":"http://x/a%20b","method":"POST","body":"{\"b\":\"ü\"}",)"
                  R"("headers":[["x-one","1"],["content-type","text/plain;charset=UTF-8"]]}])");
}

INSTANTIATE_TEST_SUITE_P(
    Blobs, V8Web,
    ::testing::Values(
        Row{"await (async () => { const b = new Blob(['a\xC3\xA9', new Uint8Array([98, 99, 100])."
            "subarray(1), new Blob(['!']), 7], { type: 'Text/X' }); return [b.size, b.type, await "
            "b.text(), [...await b.bytes()].length, (await b.arrayBuffer()).byteLength]; })()",
            "[7,\"text/x\",\"a\xC3\xA9" "cd!7\",7,7]"},
        Row{"await (async () => { const b = new Blob(['0123456789']); return [await b.slice(2, "
            "5).text(), await b.slice(-3).text(), await b.slice(-3, -1, 'a/B').text(), b.slice(-3, "
            "-1, 'a/B').type, b.slice(5, 2).size, await b.slice(2, 8).slice(1, 3).text(), b.slice("
            "8, 99).size]; })()",
            R"(["234","789","78","a/b",0,"34",2])"},
        Row{"await (async () => { const u = new Uint8Array([97]); const b = new Blob([u]); u[0] = "
            "98; new Uint8Array(await b.arrayBuffer())[0] = 99; (await b.bytes())[0] = 99; return "
            "b.text(); })()",
            R"("a")"},
        Row{"[name(() => new Blob('abc')), name(() => new Blob(1)), name(() => new Blob([], 1)), "
            "name(() => new Blob([], { endings: 'x' })), name(() => Blob([])), name(() => new "
            "File([])), new Blob([], { type: 'a\\u00e9' }).type, new Blob().size]",
            R"(["TypeError","TypeError","TypeError","TypeError","TypeError","TypeError","",0])"},
        Row{"await new Blob(['a\\r\\nb\\rc\\n'], { endings: 'native' }).text()", R"("a\nb\nc\n")"},
        Row{"await new Blob(['\\ufeffx\\ud800']).text()", "\"x\xEF\xBF\xBD\""},
        Row{"(() => { const f = new File(['ab'], 'n.txt', { type: 't/x', lastModified: 5 }); return "
            "[f.name, f.size, f.type, f.lastModified, f instanceof Blob, `${f}`, new File([], "
            "'x').lastModified === Date.now(), f.slice(0, 1) instanceof File]; })()",
            R"(["n.txt",2,"t/x",5,true,"[object File]",true,false])"},
        Row{"await (async () => { Array.prototype[0] = 'set'; Uint8Array.prototype.constructor = "
            "null; try { return await new Blob(['x', 'yz']).slice(1).text(); } finally { delete "
            "Array.prototype[0]; } })()",
            R"("yz")"}));

INSTANTIATE_TEST_SUITE_P(
    Forms, V8Web,
    ::testing::Values(
        Row{"(() => { const f = new FormData(); f.append('a', 1); f.append('b', 'x'); f.append('a', "
            "'2'); const all = f.getAll('a'); f.set('a', '3'); f.set('c', '4'); f.delete('b'); "
            "const each = []; f.forEach((value, key, form) => each.push(key + value + (form === "
            "f))); return [all, [...f], f.get('a'), f.get('z'), f.has('c'), f.has('b'), "
            "[...f.keys()], [...f.values()], each]; })()",
            R"([["1","2"],[["a","3"],["c","4"]],"3",null,true,false,["a","c"],["3","4"],["a3true","c4true"]])"},
        Row{"(() => { const f = new FormData(); f.append('x', new Blob(['a'], { type: 'q/r' })); "
            "f.append('x', new File(['b'], 'n'), 'other'); f.append('x', new File(['c'], 'same')); "
            "return f.getAll('x').map((v) => [v.name, v.type, v instanceof File]); })()",
            R"([["blob","q/r",true],["other","",true],["same","",true]])"},
        Row{"[name(() => new FormData(1)), name(() => new FormData().append('a')), name(() => new "
            "FormData().append('a', 'b', 'c'))]",
            R"(["TypeError","TypeError","TypeError"])"},
        Row{"await (async () => { const f = new FormData(); f.append('a\"\\r\\nb', 'one\\ntwo'); "
            "f.append('file', new Blob([new Uint8Array([0, 13, 10, 45, 45, 255])], { type: 'a/b' }), "
            "'n\"%.bin'); f.append('empty', ''); const r = new Response(f); const type = "
            "r.headers.get('content-type'); const g = await r.clone().formData(); const text = await "
            "r.text(); return [/^multipart\\/form-data; boundary=----sequential-form-[0-9a-f]{32}$/"
            ".test(type), text.startsWith('--' + type.split('=')[1] + '\\r\\nContent-Disposition: "
            "form-data; name=\"a%22%0D%0Ab\"\\r\\n\\r\\none\\r\\ntwo\\r\\n--'), [...g.keys()], "
            "g.get('a\"\\r\\nb'), g.get('file').name, g.get('file').type, [...await g.get("
            "'file').bytes()], g.get('empty')]; })()",
            R"([true,true,["a\"\r\nb","file","empty"],"one\r\ntwo","n\"%.bin","a/b",[0,13,10,45,45,255],""])"},
        Row{"await (async () => { const f = await new Response('a=1&b=x+y&a=%C3%A9', { headers: { "
            "'content-type': 'application/x-www-form-urlencoded' } }).formData(); return [...f]; "
            "})()",
            "[[\"a\",\"1\"],[\"b\",\"x y\"],[\"a\",\"\xC3\xA9\"]]"},
        Row{"await (async () => { const type = { headers: { 'content-type': 'Multipart/Form-Data; "
            "charset=utf-8; boundary=\"x y\"' } }; const f = await new Response('--x y\\r\\n"
            "content-disposition: form-data; filename=a.txt; name=up\\r\\nContent-Type: T/x\\r\\n"
            "X-Other: 1\\r\\n\\r\\nbody\\r\\n--x y\\r\\nContent-Disposition: form-data; "
            "name=\"\"\\r\\n\\r\\n\\r\\n--x y--\\r\\n', type).formData(); return [[...f.keys()], "
            "f.get('up').name, f.get('up').type, await f.get('up').text(), f.get('')]; })()",
            R"([["up",""],"a.txt","t/x","body",""])"},
        Row{"await (async () => { const out = []; for (const [body, type] of [['x', 'text/plain'], "
            "['', undefined], ['--b--', 'multipart/form-data'], ['x', 'multipart/form-data; "
            "boundary=b'], ['--b\\r\\n', 'multipart/form-data; boundary=b'], ['--b\\r\\nA: 1\\r\\n"
            "\\r\\nx\\r\\n--b--', 'multipart/form-data; boundary=b'], ['--b\\r\\n\\r\\nx\\r\\n--b--', "
            "'multipart/form-data; boundary=b'], ['--bx', 'multipart/form-data; boundary=b']]) { "
            "const headers = type ? { 'content-type': type } : {}; out.push(await new Response(new "
            "TextEncoder().encode(body), { headers }).formData().then(() => 'taken', (e) => e.name)); "
            "} return out; })()",
            R"(["TypeError","TypeError","TypeError","TypeError","TypeError","TypeError","TypeError","TypeError"])"},
        Row{"await (async () => { const f = await new Response('--b--\\r\\n', { headers: { "
            "'content-type': 'multipart/form-data; boundary=b' } }).formData(); return [...f]; })()",
            "[]"}));

TEST(V8Fetch, SendsBlobsAndFormsAndReadsThem) {
  std::string args;
  fetch_task("await fetch('http://x/', { method: 'PUT', body: new Blob(['hi'], { type: 'a/b' }) });",
             &args);
  EXPECT_EQ(args, R"([{"url":"http://x/","method":"PUT","bodyBase64":"aGk=",)"
                  R"("headers":[["content-type","a/b"]]}])");
  const std::string form =
      "const f = new FormData(); f.append('a', 'b'); await fetch(new Request('http://x/', { method: "
      "'POST', body: f })); return Math.random();";
  std::string again;
  const std::string random = fetch_task(form, &args);
  EXPECT_NE(args.find("multipart/form-data; boundary=----sequential-form-"), std::string::npos);
  EXPECT_EQ(fetch_task(form, &again), random);
  EXPECT_EQ(args, again);  // of the run's seed
  EXPECT_EQ(fetch_task("const r = await fetch('http://x/'); const b = await r.blob(); return "
                       "[b.type, b.size, await b.text(), r.bodyUsed, await r.blob().catch((e) => "
                       "e.name), await r.formData().catch((e) => e.name)];"),
            R"(["application/json",9,"{\"a\":[1]}",true,"TypeError","TypeError"])");
}

TEST(V8Fetch, BodiesComeAsTextOrBytes) {
  EXPECT_EQ(fetch_task("const r = await fetch('http://x/binary'); const c = r.clone();\n"
                       "return [[...new Uint8Array(await r.arrayBuffer())], (await "
                       "c.text()).length, await r.text().catch((e) => e.name)];"),
            R"([[0,255,128],3,"TypeError"])");
  std::string args;
  fetch_task(
      "await fetch('http://x/', { method: 'PUT', body: new Uint8Array([0, 255]).subarray(1), "
      "headers: [['a', 'b'], ['A', 'c']] });",
      &args);
  EXPECT_EQ(
      args,
      R"([{"url":"http://x/","method":"PUT","bodyBase64":"/w==","headers":[["a","b"],["a","c"]]}])");
  fetch_task(
      "await fetch('http://x/', { method: 'PUT', body: new URLSearchParams({ q: 'a b' }) });",
      &args);
  EXPECT_NE(args.find("application/x-www-form-urlencoded;charset=UTF-8"), std::string::npos);
  EXPECT_NE(args.find(R"("body":"q=a+b")"), std::string::npos);
}

TEST(V8Fetch, FailuresAreTypeErrorsWithTheirCause) {
  EXPECT_EQ(fetch_task("try { await fetch('http://broken'); } catch (e) {\n"
                       "  return [e.name, e.message, e.code, e.cause.name, e.cause.message, "
                       "/task\\.js:2:/.test(e.stack)]; }"),
            R"(["TypeError","fetch failed","service_unavailable","HostCallError","refused",true])");
  EXPECT_EQ(fetch_task("const out = []; for (const f of [() => fetch(), () => fetch('http://x', { "
                       "method: 'GET', body: 'b' }),\n"
                       " () => fetch('http://x', { headers: { 'bad name': '1' } }), () => "
                       "fetch('http://x', { headers: { a: 'b\\nc' } }),\n"
                       " () => fetch('http://x', { method: 'TRACE' }), () => fetch('http://x', { "
                       "signal: AbortSignal.abort() }),\n"
                       " () => fetch('http://x', { signal: {} })]) {\n"
                       "  try { await f(); out.push('none'); } catch (e) { out.push(e.name); } "
                       "}\nreturn out.join();"),
            "\"TypeError,TypeError,TypeError,TypeError,TypeError,AbortError,TypeError\"");
}

TEST(V8Fetch, AnAbortEndsTheWaitNotTheCall) {
  const Record record = run_task(
      R"js(
    module.exports = async () => {
      const c = new AbortController(); const p = fetch('http://x/', { signal: c.signal });
      setTimeout(() => c.abort(), 1); await sleep(5);
      try { await p; return 'no'; } catch (e) { return e.name; }
    };)js",
      {.respond = [](const auto& call) { return call.service == "http" ? http(call) : Answer{}; },
       .order_seed = 5});
  EXPECT_TRUE(record.payload == "\"AbortError\"" || record.payload == "\"no\"") << record.payload;
  EXPECT_EQ(record.calls.size(), 3u);
}

TEST(V8Fetch, TakesARequestAndWhatIsChangedOfIt) {
  std::string args;
  EXPECT_EQ(fetch_task(
                "const r = new Request('http://x/a b', { method: 'post', body: '{}', headers: { a: "
                "'1' } });\n"
                "const c = r.clone(); await fetch(r, { headers: { a: '2' } });\n"
                "return [r.bodyUsed, await c.json(), c.url, c.method, c.headers.get('a'), "
                "await fetch(r).catch((e) => e.name)];",
                &args),
            R"([true,{},"http://x/a%20b","POST","1","TypeError"])");
  EXPECT_EQ(args, R"([{"url":"http://x/a%20b","method":"POST","body":"{}",)"
                  R"("headers":[["a","2"]],"redirect":"follow"}])");
  EXPECT_EQ(fetch_task("const out = []; for (const f of [() => new Request('/relative'), () => new "
                       "Request('http://x', { method: 'GET', body: '' }),\n"
                       " () => new Request('http://x', { redirect: 'no' }), () => new Request()]) "
                       "{\n"
                       "  try { f(); out.push('none'); } catch (e) { out.push(e.name); } }\n"
                       "const c = new AbortController(); c.abort();\n"
                       "const r = new Request('http://x', { signal: c.signal });\n"
                       "out.push(r.signal.aborted, await fetch(r).catch((e) => e.name));\n"
                       "return out.join();"),
            "\"TypeError,TypeError,TypeError,TypeError,true,AbortError\"");
}

TEST(V8Abort, CompositesLeaveNothingAtSignalsThatLiveOn) {
  EngineOptions options = small_limits();
  options.hello.limits.cpu_ms = 20'000;
  options.hello.limits.heap_bytes = 16 << 20;
  EngineProcess engine(options);
  TestRun run(R"js(
    module.exports = async () => {
      const own = new AbortController(), target = new EventTarget(), f = () => {};
      for (let i = 0; i < 30000; i++) {
        const any = AbortSignal.any([own.signal, task.signal]);
        any.addEventListener('abort', f);
        AbortSignal.any([any]).onabort = null;
        any.removeEventListener('abort', f);
        target.addEventListener('x', f, { once: true, signal: any });
        target.dispatchEvent(new Event('x'));
        AbortSignal.any([task.signal]);
      }
      return 'done';
    };)js", {});
  const auto done = run.begin_cold(engine);
  EXPECT_EQ(done.payload, "\"done\"");
}

// The digests are the examples of FIPS 180-4, the signature is test case 2 of RFC 4231.
TEST(V8Crypto, SubtleDigestsAndSigns) {
  const Record record = run_task(R"js(
    const hex = (b) => [...new Uint8Array(b)].map((x) => x.toString(16).padStart(2, '0')).join('');
    const bytes = (s) => new TextEncoder().encode(s);
    module.exports = async () => {
      const out = [];
      for (const a of ['SHA-1', 'sha-256', { name: 'SHA-384' }, 'SHA-512']) {
        out.push(hex(await crypto.subtle.digest(a, bytes('abc'))).slice(0, 16));
      }
      const hmac = { name: 'HMAC', hash: 'SHA-256' };
      const key = await crypto.subtle.importKey('raw', bytes('Jefe'), hmac, false, ['sign', 'verify']);
      const data = bytes('what do ya want for nothing?');
      const signature = await crypto.subtle.sign('HMAC', key, data);
      out.push(hex(signature).slice(0, 16), await crypto.subtle.verify('HMAC', key, signature, data));
      new Uint8Array(signature)[0] ^= 1;
      out.push(await crypto.subtle.verify('HMAC', key, signature, data));
      out.push(await crypto.subtle.verify('HMAC', key, signature.slice(1), data));
      return out.join();
    };)js",
                                 {});
  EXPECT_EQ(record.payload,
            "\"a9993e364706816a,ba7816bf8f01cfea,cb00753f45a35e8b,ddaf35a193617aba,"
            "5bdcc146bf60754e,true,false,false\"");
}

TEST(V8Crypto, SubtleRefusesWhatItCannotDo) {
  const Record record = run_task(R"js(
    module.exports = async () => {
      const out = [];
      const s = crypto.subtle;
      const raw = new Uint8Array(4);
      const h = { name: 'HMAC', hash: 'SHA-1' };
      const key = await s.importKey('raw', raw, h, false, ['sign']);
      for (const f of [() => s.digest('MD5', raw), () => s.digest('SHA-1', 'text'),
                       () => s.importKey('jwk', {}, h, false, ['sign']),
                       () => s.importKey('raw', new Uint8Array(0), h, false, ['sign']),
                       () => s.importKey('raw', raw, h, false, []),
                       () => s.importKey('raw', raw, { name: 'AES-GCM' }, false, ['sign']),
                       () => s.exportKey('raw', key), () => s.verify('HMAC', key, raw, raw),
                       () => s.sign('HMAC', {}, raw), async () => new CryptoKey()]) {
        out.push(await f().then(() => 'none', (e) => e.name));
      }
      return out.join();
    };)js",
                                 {});
  EXPECT_EQ(record.payload,
            "\"NotSupportedError,TypeError,NotSupportedError,DataError,SyntaxError,"
            "NotSupportedError,InvalidAccessError,InvalidAccessError,TypeError,TypeError\"");
}

TEST(V8Timers, SleepIsACallOfTheTimerService) {
  const Record record = run_task(R"js(
    module.exports = async () => {
      const a = await sleep(1500.7); await sleep(new Date(5)); await sleep(-3);
      const bad = []; for (const x of ['1', NaN, Infinity, new Date(NaN), undefined]) await sleep(x).catch((e) => bad.push(e.name));
      return [a === undefined, bad.join()];
    };)js",
                                 {.respond = [](const auto&) { return Answer{}; }});
  EXPECT_EQ(record.payload, R"([true,"TypeError,TypeError,TypeError,TypeError,TypeError"])");
  std::string seen;
  for (const auto& call : record.calls) seen += call.service + "." + call.method + call.args + ";";
  EXPECT_EQ(seen, "timer.sleep[1500];timer.until[5];timer.sleep[0];");
}

}  // namespace
}  // namespace sequential::engine::v8test
