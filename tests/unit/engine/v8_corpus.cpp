#include "v8_corpus.h"

namespace sequential::engine::v8test {
namespace {

struct Shape {
  const char* name;
  const char* body;  // of `async function (input)`, with `call(x)` for a call that echoes
  std::uint32_t order_seed = 0;
};

constexpr const char* kHead = R"js(
const call = (...args) => __callHostTool__('svc', 'echo', args);
const fail = (...args) => __callHostTool__('svc', 'fail', args);
module.exports = async function (input) {
)js";

const Shape kShapes[] = {
    {"Loops", R"js(
      const out = [];
      for (let i = 0; i < input.n; i++) { out.push((await call(i)).args[0]); console.log('i', i); }
      let k = 0; while (k < 3) { k += (await call('w', k)).seq > 0 ? 1 : 0; }
      do { out.push((await call('d')).seq); } while (out.length < 8);
      outer: for (const a of [1, 2]) for (const b of [1, 2]) { await call(a, b); if (b === 1) continue outer; }
      return out;)js"},
    {"ForInOf", R"js(
      const o = { a: 1, b: 2, c: 3 }; const seen = [];
      for (const key in o) { seen.push(key, (await call(key)).args[0]); delete o.c; o.d = 4; }
      for (const [i, c] of [...input.text].entries()) seen.push(i, (await call(c)).args[0]);
      const m = new Map([['x', 1]]);
      for (const [key, v] of m) { await call(key); if (m.size < 4) m.set('k' + m.size, v + 1); }
      return [seen, [...m]];)js"},
    {"Closures", R"js(
      let count = 0; const inc = () => ++count; const fs = [];
      for (let i = 0; i < 4; i++) fs.push(async () => { inc(); return [i, (await call(i)).seq, count]; });
      const out = []; for (const f of fs) out.push(await f());
      return out;)js"},
    {"PrivateFields", R"js(
      class Counter { #n = 0; static #all = 0; get n() { return this.#n; }
        async #step() { const r = await call(this.#n); this.#n += r.seq; Counter.#all++; }
        async run(k) { for (let i = 0; i < k; i++) await this.#step(); return [this.#n, Counter.#all, #n in this]; } }
      class Named extends Counter { #name = 'x'; async run(k) { const r = await super.run(k); return [this.#name, ...r]; } }
      return [await new Counter().run(3), await new Named().run(2)];)js"},
    {"Generators", R"js(
      function* fib() { let [a, b] = [0, 1]; for (;;) { const reset = yield a; [a, b] = reset ? [0, 1] : [b, a + b]; } }
      const g = fib(); const out = [];
      for (let i = 0; i < 6; i++) { out.push(g.next((await call(i)).seq % 5 === 0).value); }
      return [out, g.return(9)];)js"},
    {"AsyncGenerators", R"js(
      async function* pages(n) { try { for (let i = 0; i < n; i++) { const r = await call('page', i); yield r.seq; } } finally { await call('close'); } }
      const out = []; for await (const p of pages(5)) { out.push(p); if (p > 3) break; }
      const g = pages(2); const both = await Promise.all([g.next(), g.next(), g.next(), g.next()]);
      async function* outer() { yield* pages(1); yield 'end'; }
      for await (const p of outer()) out.push(p);
      return [out, both];)js"},
    {"TryFinally", R"js(
      const trace = [];
      async function f(mode) {
        try { trace.push('t'); if (mode & 1) await fail(mode); await call(mode); return 'ret'; }
        catch (e) { trace.push(e.name, e.code, e.message); if (mode & 2) throw new Error('again', { cause: e }); await call('c'); return 'caught'; }
        finally { trace.push('f'); await call('fin'); if (mode & 4) return 'override'; trace.push('f2'); }
      }
      for (let m = 0; m < 8; m++) { try { trace.push(await f(m)); } catch (e) { trace.push(e.message, e.cause.message); } }
      return trace;)js"},
    {"PromiseAll", R"js(
      const all = await Promise.all([1, 2, 3, 4].map((i) => call(i).then((r) => { console.log('got', i); return r.seq; })));
      const settled = await Promise.allSettled([call('a'), fail('b'), call('c')]);
      return [all, settled.map((s) => s.status + (s.reason?.message ?? s.value.seq))];)js",
     7},
    {"PromiseRaceAny", R"js(
      const race = await Promise.race([call('a'), call('b'), call('c')]);
      const any = await Promise.any([fail(1), call(2), fail(3), call(4)]);
      let none; try { await Promise.any([fail(1), fail(2)]); } catch (e) { none = [e.name, e.errors.map((x) => x.message)]; }
      return [race, any, none];)js",
     11},
    {"PromiseAllShuffled", R"js(
      const order = [];
      await Promise.all(Array.from({ length: 12 }, async (_, i) => {
        for (let k = 0; k < 3; k++) { const r = await call(i, k); order.push([i, k, r.seq]); } }));
      return order;)js",
     1234},
    {"Collections", R"js(
      const m = new Map(); const s = new Set(); const w = new WeakMap(); const key = {};
      for (let i = 0; i < 6; i++) { const r = await call(i); m.set(i % 2 ? i : { i }, r.seq); s.add(r.seq % 4); w.set(key, i); }
      m.delete(3); console.log(m, s);
      return [[...m.values()], [...s], w.get(key), [...m.keys()].map((k) => typeof k)];)js"},
    {"TypedArrays", R"js(
      const bytes = new Uint8Array(16); const view = new DataView(bytes.buffer);
      for (let i = 0; i < 4; i++) { const r = await call(i); view.setFloat32(i * 4, r.seq / 3); }
      const f = new Float64Array([3, 1, 2]).sort(); const big = BigInt64Array.of(5n, -7n);
      await call(Array.from(bytes));
      return [[...bytes], [...f], big.map((b) => b * 2n).join(), bytes.subarray(2, 5).length, f.at(-1)];)js"},
    {"Errors", R"js(
      class MyError extends TypeError { constructor(m, extra) { super(m); this.name = 'MyError'; this.extra = extra; } }
      const out = [];
      for (let i = 0; i < 3; i++) {
        try { await call(i); throw new MyError('m' + i, { i }); }
        catch (e) { console.error(e); out.push(e.name, e.extra, e instanceof TypeError, e.stack.split('\n').length > 1); }
      }
      try { null.x; } catch (e) { await call(e.message); out.push(e.stack.match(/task\.js:\d+:\d+/)[0]); }
      return out;)js"},
    {"Intl", R"js(
      const n = new Intl.NumberFormat('de-DE', { style: 'currency', currency: 'EUR' });
      const d = new Intl.DateTimeFormat('en-GB', { dateStyle: 'full', timeZone: 'Europe/Berlin' });
      const out = [];
      for (let i = 0; i < 3; i++) { const r = await call(i); out.push(n.format(r.seq * 1234.5), d.format(), d.format(new Date(86400000 * r.seq))); }
      out.push(new Intl.PluralRules('en').select(1), new Intl.ListFormat('en').format(['a', 'b', 'c']));
      out.push((1234.5).toLocaleString(), new Date(0).toLocaleString(), ['ä', 'a', 'z'].sort(new Intl.Collator('de').compare));
      out.push(['b', 'ä', 'a'].sort((a, b) => a.localeCompare(b)), new Date().toLocaleDateString('fr'));
      return out;)js"},
    {"FiftyDeep", R"js(
      const down = async (n) => n === 0 ? (await call('bottom')).seq : (await down(n - 1)) + ((n % 10) === 0 ? (await call(n)).seq : 1);
      return await down(50);)js"},
    {"RandomAndTime", R"js(
      const out = [];
      for (let i = 0; i < 4; i++) { out.push(Math.random(), Date.now(), crypto.randomUUID()); await call(Math.floor(Math.random() * 1000), Date.now()); }
      out.push([3, 1, 2].sort(() => Math.random() - 0.5));
      return out;)js"},
    {"Timers", R"js(
      const log = []; const wait = (ms) => new Promise((r) => setTimeout(r, ms, ms));
      const dead = setTimeout(() => log.push('dead'), 5); clearTimeout(dead);
      log.push(await wait(10)); await sleep(20); await sleep(new Date(Date.now() + 1000));
      let ticks = 0; await new Promise((r) => { const id = setInterval(() => { if (++ticks === 3) { clearInterval(id); r(); } }, 5); });
      setTimeout(() => { throw new Error('in timer'); }, 1); await wait(2); await call('after');
      return [log, ticks];)js"},
    {"RegExpState", R"js(
      const re = /(\w)(\d)/g; const out = [];
      while (true) { const m = re.exec('a1b2c3'); if (!m) break; out.push(m[0], re.lastIndex, RegExp.$1, (await call(m[1])).seq); }
      return [out, 'x-y'.replace(/(\w)-(\w)/, '$2-$1'), [...'aXbX'.matchAll(/X/g)].length];)js"},
    {"SymbolsProxies", R"js(
      const reads = []; const p = new Proxy({ a: 1 }, { get(t, k) { reads.push(String(k)); return t[k]; } });
      const s = Symbol.for('shared'); const o = { [s]: 1, get lazy() { return reads.length; } };
      const r = await call(p.a, o[s]); await call(o.lazy);
      return [reads, r.args, Object.getOwnPropertySymbols(o).length, Symbol.keyFor(s)];)js"},
    {"BigIntsStrings", R"js(
      let b = 1n; let text = '';
      for (let i = 1; i < 6; i++) { b *= BigInt((await call(i)).seq * 12345678901); text += String.fromCodePoint(0x1F600 + i) + '\u0000'; }
      return [b.toString(36), text, text.length, [...text].length, text.normalize('NFD').length];)js"},
    {"ThenablesMicrotasks", R"js(
      const order = []; const t = { then(f) { order.push('then'); f(5); } };
      order.push(await t); Promise.resolve().then(() => order.push('m1')); queueMicrotask(() => order.push('m2'));
      await call(1); order.push('after');
      const p = call(2); p.then(() => order.push('a')); p.then(() => order.push('b')); p.finally(() => order.push('f'));
      await p; await null; order.push('end');
      return order;)js"},
    {"WebTools", R"js(
      const u = new URL('../x y?q=ä#h', 'https://Example.com:443/a/b/c'); u.searchParams.append('k', 'v w');
      const bytes = new TextEncoder().encode('grün €😀'); const r = await call(u.href, btoa('hi'), [...bytes]);
      const c = structuredClone({ d: new Date(5), m: new Map([[1, { a: [1] }]]), e: new RangeError('x') });
      const ac = new AbortController(); const seen = []; ac.signal.addEventListener('abort', (e) => seen.push(e.type, ac.signal.reason.name));
      await call(atob('aGk=')); ac.abort();
      return [r.args, new TextDecoder().decode(bytes), c.d.getTime(), [...c.m], c.e.name, c.e instanceof RangeError, seen];)js"},
    {"Fetch", R"js(
      const r = await fetch('https://example.com/a', { method: 'post', headers: { 'X-A': '1' }, body: JSON.stringify({ a: 1 }) });
      return [r.status, r.ok, typeof r.headers.get, await r.text()];)js"},
    {"ConsoleAll", R"js(
      const o = { name: 'x', nested: { a: { b: { c: { d: 1 } } } }, list: [1, , 3], f() {}, [Symbol('s')]: 1, get g() { return 1; } }; o.self = o;
      console.log(o); console.debug('%s is %d years and %i, %f, %j %o %O %%', 'Bob', 42, 42.9, 1.5, { a: 1 }, [1], { b: 2 }, 'extra');
      await call(1);
      console.info(new Map([[{ a: 1 }, 'b']]), new Set(['x']), [undefined, null, -0, 10n, Symbol('q')], class A {}, class B extends Map {}, async () => {});
      console.warn(new Date(0), /re/gi, new Error('e').message, Promise.resolve(4), new Promise(() => {}), new Uint8Array(3), new ArrayBuffer(2));
      await call(2);
      console.error('long', 'x'.repeat(200), Array.from({ length: 120 }, (_, i) => i), Object.create(null), new (class Foo { a = 1; })());
      console.group('g'); console.log('in'); console.groupEnd(); console.count(); console.count(); console.time('t'); await call(3); console.timeEnd('t');
      console.assert(1 === 2, 'no %s', 'way'); console.dir({ a: { b: {} } }); console.log(); console.log(new Proxy({}, {})); console.log([['a', 1]], [new Number(3), new String('s')]);
      return 1;)js"},
    {"LabelsSwitchSpread", R"js(
      const out = [];
      for (let i = 0; i < 5; i++) { switch (i) { case 0: out.push('zero'); case 1: await call(i); break; case 2: { const { seq, ...rest } = await call(i); out.push(rest); break; } default: out.push(...[i, i * 2]); } }
      const [a, , b = 5, ...c] = [1, 2, undefined, 4, 5]; const f = (x, { y = 2, ...z } = {}, ...w) => [x, y, z, w];
      await call(a, b, c); return [out, f(1, { q: 3 }, 4), `t${1 + 1}`, ((s, ...v) => s.raw.join('|') + v)`a${1}b\n`];)js"},
    {"GetterSetterFreeze", R"js(
      const log = []; const o = Object.freeze({ get v() { log.push('get'); return call('v'); } });
      const q = { set x(v) { log.push(v); } }; q.x = (await o.v).seq; q.x = (await o.v).seq;
      try { 'use strict'; o.z = 1; } catch (e) { log.push(e.name); }
      return [log, Object.isFrozen(o), Object.getOwnPropertyDescriptor(o, 'v').set === undefined];)js"},
    {"RecursionCaught", R"js(
      let depth = 0; const f = () => { depth++; f(); }; let name;
      try { f(); } catch (e) { name = e.name; }
      await call(name); return [name, depth > 1000];)js"},
    {"WeakAndFinal", R"js(
      const w = new WeakRef({ a: 1 }); const r = new FinalizationRegistry(() => { throw 1; }); r.register({}, 1);
      for (let i = 0; i < 3; i++) { await call(i); new Array(1e4).fill({}); }
      return w.deref().a;)js"},
    {"ServicesSugar", R"js(
      const gmail = services.gapi.gmail.users; const out = [];
      out.push((await gmail.messages.list({ userId: 'me' })).args, (await gmail.messages.get('a', 'b')).args);
      out.push(String(services.gapi.gmail), typeof gmail.messages, await services.gapi === undefined, `${services}`);
      return out;)js"},
};

}  // namespace

std::vector<CorpusTask> corpus() {
  std::vector<CorpusTask> tasks;
  for (const Shape& shape : kShapes) {
    tasks.push_back({shape.name, std::string(kHead) + shape.body + "\n};\n", shape.order_seed});
  }
  return tasks;
}

}  // namespace sequential::engine::v8test
