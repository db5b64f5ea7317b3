// F37: what hostile task code tries, and what it must get. Each probe is the body of an async task function; `expect` is the
// result it must complete with, or a function of the ended run that throws when it got something else.
import assert from "node:assert/strict";

const refusedCode = (expression) => `
  try { return { got: typeof (${expression}) }; } catch (error) { return { refused: error.name }; }`;
const REFUSED = { refused: "EvalError" };

const failedWith = (...names) => (run) => {
  assert.equal(run.status, "failed", JSON.stringify(run));
  assert.ok(names.includes(run.error.name) || names.includes(run.error.code), JSON.stringify(run.error));
};

export const PROBES = [
  // --- code from strings ------------------------------------------------------------------------------------------------
  { name: "eval", code: refusedCode("eval('1')"), expect: REFUSED },
  { name: "indirect eval", code: refusedCode("(0, eval)('this')"), expect: REFUSED },
  { name: "Function", code: refusedCode("new Function('return this')()"), expect: REFUSED },
  { name: "constructor chain", code: refusedCode("''.constructor.constructor('return this')()"), expect: REFUSED },
  { name: "constructor of an async function", code: refusedCode("(async () => {}).constructor('return this')"), expect: REFUSED },
  { name: "constructor of a generator", code: refusedCode("(function* () {}).constructor('return this')"), expect: REFUSED },
  { name: "constructor of a host function", code: refusedCode("__callHostTool__.constructor('return this')()"), expect: REFUSED },
  { name: "constructor of a host promise", code: refusedCode("services.echo.echo(1).constructor.constructor('return this')()"), expect: REFUSED },
  { name: "constructor of console", code: refusedCode("console.log.constructor('return process')()"), expect: REFUSED },
  { name: "setTimeout of a string", code: `try { setTimeout("globalThis.pwned = 1", 1); } catch (error) { return error.name; } await sleep(30); return typeof pwned;`, expect: "TypeError" },
  { name: "import()", code: `try { await import("fs"); return "imported"; } catch (error) { return typeof error; }`, expect: "object" },
  { name: "import() of node:", code: `try { await import("node:fs"); return "imported"; } catch (error) { return typeof error; }`, expect: "object" },
  { name: "import() of data:", code: `try { await import("data:text/javascript,export default 1"); return "imported"; } catch (error) { return typeof error; }`, expect: "object" },
  // --- what is not there --------------------------------------------------------------------------------------------------
  {
    name: "globals of other hosts",
    code: `return ["process", "require", "Buffer", "Deno", "Bun", "WebAssembly", "SharedArrayBuffer", "Atomics", "gc", "d8", "print",
      "load", "read", "quit", "Worker", "importScripts", "XMLHttpRequest", "WebSocket", "localStorage", "window", "global",
      "__dirname", "__filename", "v8", "internalBinding", "process_binding"].filter((name) => name in globalThis);`,
    expect: [],
  },
  { name: "module has no way out", code: `return [typeof require, typeof module.require, typeof module.parent, typeof module.constructor._load, Object.keys(module).sort().join()].slice(0, 4);`, expect: ["undefined", "undefined", "undefined", "undefined"] },
  { name: "natives syntax", code: refusedCode("eval('%GetOptimizationStatus(1)')"), expect: REFUSED },
  // Every own function of every global, by its source: native or ours, and none takes strings to files or sockets.
  {
    name: "names of all globals",
    code: `return Object.getOwnPropertyNames(globalThis).filter((name) => /file|socket|spawn|exec|fork|dlopen|binding|inspect|debug|env/i.test(name));`,
    expect: ["File"],  // of FormData: bytes with a name, and no way to the disk
  },
  // --- stack traces -------------------------------------------------------------------------------------------------------
  {
    name: "prepareStackTrace hands out no functions of ours",
    code: `
      const seen = [];
      Error.prepareStackTrace = (error, sites) => {
        for (const site of sites) {
          let fn, self;
          if (/^probe-/.test(site.getFileName())) continue;
          try { fn = site.getFunction(); } catch {}
          try { self = site.getThis(); } catch {}
          if (fn !== undefined) seen.push("the function " + site.getFunctionName() + " of " + site.getFileName());
          if (self !== undefined && self !== null && self !== globalThis) seen.push("this of " + site.getFunctionName() + " of " + site.getFileName());
        }
        return "custom";
      };
      function sloppy() { return new Error("x").stack; }
      sloppy();
      try { services.echo.echo(undefined, { get a() { return sloppy(); } }); } catch {}
      JSON.stringify({ toJSON() { return sloppy(); } });
      try { await __callHostTool__("echo", "echo", [{ toJSON() { return sloppy(); } }]); } catch {}
      console.log({ get [Symbol.toStringTag]() { return sloppy() + ""; } });
      return seen;`,
    expect: [],
  },
  { name: "captureStackTrace on a frozen object", code: `try { Error.captureStackTrace(Object.freeze({})); return "ok"; } catch (error) { return error.name; }`, expect: (run) => assert.ok(["ok", "TypeError"].includes(run.result)) },
  // --- pollution: what the task replaces must not change what the host does ---------------------------------------------------
  {
    name: "Object.prototype setters see nothing of the host's",
    code: `
      const seen = [];
      const keys = ["seq", "service", "method", "args", "options", "resolve", "reject", "hooks", "site", "timer", "level", "message", "status",
        "payload", "value", "get", "set", "writable", "then", "stack", "name", "code", "url", "headers", "body", "convert", "cause", "errors"];
      for (const key of keys) {
        const get = () => { seen.push("get " + key); };
        const set = () => { seen.push("set " + key); };
        Object.defineProperty(Object.prototype, key, { __proto__: null, get, set, configurable: true });
      }
      const answer = await __callHostTool__("echo", "echo", [[1, 2]]);
      try { await __callHostTool__("echo", "fail", [{ __proto__: null, message: "no" }]); } catch {}
      await sleep(1);
      for (const key of keys) delete Object.prototype[key];
      // Settling a promise with an object looks for its then: the language says so.
      return { __proto__: null, seen: seen.filter((one) => one !== "get then"), answer };`,
    expect: { seen: [], answer: [1, 2] },
  },
  {
    name: "Array.prototype replaced",
    code: `
      const seen = [];
      const real = Array.prototype.push;
      for (const name of ["push", "pop", "shift", "map", "forEach", "slice", "join", "concat"]) {
        Array.prototype[name] = function () { seen[seen.length] = name; throw new Error("stolen " + name); };
      }
      Array.prototype[Symbol.iterator] = function () { seen[seen.length] = "iterator"; throw new Error("stolen iterator"); };
      Object.defineProperty(Array.prototype, 0, { set(value) { real.call(seen, "index 0"); }, configurable: true });
      const answer = await __callHostTool__("echo", ["echo"], [{ x: 1 }]);
      console.log("a", { b: [1] });
      delete Array.prototype[0];
      return { seen: JSON.stringify(seen), answer };`,
    expect: { seen: "[]", answer: { x: 1 } },
  },
  {
    name: "Promise replaced",
    code: `
      const seen = [];
      const native = Promise.prototype.then;
      Promise.prototype.then = function (...args) { seen.push("then"); return native.apply(this, args); };
      Promise.resolve = () => { seen.push("resolve"); throw new Error("stolen"); };
      globalThis.Promise = function () { seen.push("Promise"); throw new Error("stolen"); };
      const answer = await __callHostTool__("echo", "echo", [7]);
      return { seen, answer };`,
    expect: { seen: [], answer: 7 },
  },
  { name: "JSON replaced", code: `JSON.stringify = () => '"stolen"'; JSON.parse = () => "stolen"; return [await __callHostTool__("echo", "echo", [[1]]), await services.echo.echo("two")];`, expect: [[1], "two"] },
  { name: "Map replaced", code: `Map.prototype.get = Map.prototype.set = Map.prototype.delete = () => { throw new Error("stolen"); }; return await services.echo.echo(5);`, expect: 5 },
  { name: "Reflect and Function.prototype replaced", code: `Reflect.apply = Function.prototype.call = Function.prototype.apply = Function.prototype.bind = () => { throw new Error("stolen"); }; return await services.echo.echo(6);`, expect: 6 },
  { name: "Error replaced", code: `globalThis.Error = globalThis.TypeError = class { constructor() { throw 1; } }; try { await services.echo.fail({ code: "c", message: "m" }); } catch (error) { return [error.code, error.message]; }`, expect: ["c", "m"] },
  { name: "Date replaced by the task stays its own matter", code: `globalThis.Date = class { static now() { return 1; } }; await services.echo.echo(1); return Date.now();`, expect: 1 },
  { name: "the call function replaced", code: `const real = __callHostTool__; globalThis.__callHostTool__ = () => "mine"; return [__callHostTool__(), await real("echo", "echo", [1]), await services.echo.echo(2)];`, expect: ["mine", 1, 2] },
  // --- results that do something ----------------------------------------------------------------------------------------------
  { name: "toJSON of the result", code: `return { toJSON: () => ({ status: "failed", calls: [] }) };`, expect: { status: "failed", calls: [] } },
  { name: "thenable as the result", code: `return { then(resolve) { resolve({ then: undefined, done: 1 }); } };`, expect: { done: 1 } },
  { name: "thenable that answers twice", code: `return { then(resolve, reject) { resolve(1); resolve(2); reject(new Error("late")); } };`, expect: 1 },
  { name: "thenable that throws after it answered", code: `return { then(resolve) { resolve(1); throw new Error("late"); } };`, expect: 1 },
  { name: "Proxy as the result", code: `return new Proxy({ a: 1 }, {});`, expect: { a: 1 } },
  { name: "Proxy with traps that throw", code: `return new Proxy({}, { ownKeys() { throw new RangeError("trap"); } });`, expect: failedWith("RangeError") },
  { name: "getter that calls the host", code: `return { get x() { services.echo.echo("late"); return 1; } };`, expect: { x: 1 } },
  { name: "cyclic result", code: `const a = {}; a.a = a; return a;`, expect: failedWith("TypeError") },
  { name: "BigInt result", code: `return 1n;`, expect: failedWith("TypeError") },
  { name: "symbol result", code: `return Symbol("x");`, expect: null },
  { name: "function result", code: `return () => 1;`, expect: null },
  { name: "undefined result", code: `return undefined;`, expect: null },
  {
    name: "a result 100,000 deep", code: `let a = []; for (let i = 0; i < 1e5; i++) a = [a]; return a;`,
    expect: (run) => assert.equal(run.status, "failed", run.status),
  },
  {
    name: "an argument 100,000 deep", code: `let a = []; for (let i = 0; i < 1e5; i++) a = [a]; try { await services.echo.echo(a); return "sent"; } catch (error) { return "refused"; }`,
    expect: (run) => assert.ok(run.result === "refused" || run.status === "failed", JSON.stringify(run).slice(0, 500)),
  },
  { name: "a result that forges the frame of the host", code: `return "]}\\n{\\"status\\":\\"completed\\"}\\u0000\\u0001";`, expect: ']}\n{"status":"completed"}\u0000\u0001' },
  { name: "throw null", code: `throw null;`, expect: (run) => assert.equal(run.status, "failed") },
  { name: "throw undefined", code: `throw undefined;`, expect: (run) => assert.equal(run.status, "failed") },
  { name: "throw a Proxy", code: `throw new Proxy({}, { get() { throw new Error("trap"); } });`, expect: (run) => assert.equal(run.status, "failed") },
  { name: "throw a thrower", code: `throw { get name() { throw 1; }, get message() { throw 2; }, get stack() { throw 3; }, get code() { throw 4; }, get cause() { throw 5; } };`, expect: (run) => assert.equal(run.status, "failed") },
  { name: "an error that names itself a limit", code: `const error = new Error("mine"); error.code = "divergent"; throw error;`, expect: (run) => { assert.equal(run.status, "failed"); assert.equal(run.error.message, "mine"); } },
  // --- wrong calls ----------------------------------------------------------------------------------------------------------------
  { name: "service names of prototypes", code: `const out = []; for (const name of ["__proto__", "constructor", "toString", "hasOwnProperty"]) { try { await __callHostTool__(name, "x", []); out.push("called"); } catch (error) { out.push(error.code); } } return out;`, expect: ["unknown_service", "unknown_service", "unknown_service", "unknown_service"] },
  { name: "names with NUL, slashes and new lines", code: `const out = []; for (const name of ["echo\\u0000", "../echo", "echo\\n", "e".repeat(5000)]) { try { await __callHostTool__(name, "echo", [1]); out.push("called"); } catch (error) { out.push(typeof error.code); } } return out;`, expect: (run) => assert.ok(run.status === "failed" || run.result.every((one) => one !== "called"), JSON.stringify(run.result)) },
  { name: "options that are hostile", code: `try { await __callHostTool__("echo", "echo", [1], { timeoutMs: -1 }); return "called"; } catch (error) { return error.code; }`, expect: "invalid_arguments" },
  { name: "secrets without leave", code: `try { return await services.keystore.getKey("default", "GAPI_KEY"); } catch (error) { return error.code; }`, expect: "forbidden" },
  { name: "fetch of the server itself", code: `try { const reply = await fetch(task.self ?? "http://127.0.0.1:1/"); return reply.status; } catch (error) { return error.code; }`, expect: "ssrf_denied" },
  { name: "fetch of a file", code: `try { await fetch("file:///etc/passwd"); return "read"; } catch (error) { return "refused"; }`, expect: "refused" },
  { name: "fetch of link-local", code: `try { await fetch("http://169.254.169.254/"); return "read"; } catch (error) { return error.code; }`, expect: "ssrf_denied" },
];

/** One task leaves traces wherever it can; the next run of the same version must see none. */
export const STAIN = `
  const stains = () => [typeof globalThis.stained, typeof Object.prototype.stained, typeof Array.prototype.stained, typeof console.stained,
    typeof __callHostTool__.stained, typeof Math.stained, typeof Promise.stained, typeof task.stained, typeof shared.stained, JSON.stringify([1])];
  const found = stains();
  await services.echo.echo(1);
  globalThis.stained = 1;
  for (const object of [Object.prototype, Array.prototype, console, __callHostTool__, Math, Promise, shared]) object.stained = 1;
  try { task.stained = 1; } catch {}
  JSON.stringify = () => "stained";
  return found;`;
export const UNSTAINED = [...Array(9).fill("undefined"), "[1]"];
