// Runs task code the way the engine does, in this process: its own realm with only what tasks see, a clock that moves with
// the outcomes, and a journal from which a run can be replayed. It has none of the engine's walls or limits.
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import vm from "node:vm";

const FIRST_TIME = Date.UTC(2026, 0, 1);

// Evaluated in the task's realm, so that the errors a task catches are instances of its own classes.
const BOOTSTRAP = `(function (host) {
  "use strict";
  const RealDate = Date;
  globalThis.Date = class Date extends RealDate {
    constructor(...args) { super(...(args.length ? args : [host.now()])); }
    static now() { return host.now(); }
  };
  class HostCallError extends Error {
    constructor(fields) { super(fields.message); Object.assign(this, fields); }
    get name() { return this.constructor.name; }
  }
  class TimeoutError extends HostCallError {}
  class OutcomeUnknownError extends HostCallError {}
  class CancelledError extends HostCallError {}
  const kinds = { HostCallError, TimeoutError, OutcomeUnknownError, CancelledError };
  Object.assign(globalThis, kinds);
  const call = (service, method, args, options) => new Promise((resolve, reject) => {
    const path = Array.isArray(method) ? method.join(".") : method;
    const list = args === undefined ? [] : Array.isArray(args) ? args : [args];
    host.call(String(service), path, JSON.stringify(list), (failed, payload) => {
      const value = JSON.parse(payload);
      if (!failed) return resolve(value);
      const { name, ...fields } = value;
      reject(new (kinds[name] || HostCallError)(fields));
    });
  });
  globalThis.__callHostTool__ = call;
  globalThis.sleep = (ms) => call("timer", "sleep", [ms]).then(() => undefined);
  globalThis.callTask = (name, input = {}, options) => call("tasks", "run", [{ task: name, input, options }]);
  globalThis.services = new Proxy({}, {
    get: (_, service) => new Proxy({}, { get: (_, method) => (...args) => call(service, method, args) }),
  });
  globalThis.task = { id: 1, name: host.name, version: 1, started: host.now() };
  globalThis.setStatus = (value) => host.show("status", JSON.stringify(value));
  globalThis.progress = (...amounts) => host.show("progress", JSON.stringify(amounts));
  globalThis.createWebhook = async (options) => {
    const made = await call("signal", "webhook", [options]);
    return { url: made.url, wait: (limits) => call("signal", "wait", [made.name, limits]) };
  };
  globalThis.setAttributes = (values) => host.log("attributes", JSON.stringify(values));
  globalThis.console = {};
  for (const level of ["debug", "log", "info", "warn", "error"]) {
    console[level] = (...values) => host.log(level, values.map(String).join(" "));
  }
})`;

/** Loads a CommonJS task from a file; answers a factory, because every run has a realm of its own. */
export function loadTask(file) {
  const name = basename(file, ".js");
  const script = new vm.Script(`(function (module, exports) {${readFileSync(file, "utf8")}\n})`, {
    filename: basename(file),
  });
  return (host) => {
    const context = vm.createContext({}, { codeGeneration: { strings: false, wasm: false } });
    vm.runInContext(BOOTSTRAP, context)({ ...host, name });
    const module = { exports: {} };
    script.runInContext(context)(module, module.exports);
    return { run: module.exports, parse: vm.runInContext("JSON.parse", context) };
  };
}

/** Failures become the JSON a real server records. */
function recordFailure(error, service, method) {
  const { name, message, code, status, errors } = error;
  return JSON.stringify({ name, message, code: code ?? "service_error", status, errors, service, method });
}

/**
 * Runs a task to its end, or until `stopAfter` outcomes are recorded.
 * @param task what loadTask answered
 * @param input the run's input
 * @param services {name: {method: async (...args) => value}}; a service may be a function (method, args) instead
 * @param journal outcomes of an earlier run of the same code and input: [{service, method, args, failed, payload, at}]
 * @returns {Promise<{status: "completed"|"failed"|"suspended"|"divergent", result?, error?, journal, logs, shown}>}
 */
export function runTask(task, { input, services = {}, journal: recorded = [], stopAfter = Infinity } = {}) {
  return new Promise((resolve) => {
    const journal = [...recorded];
    const logs = [];
    const shown = [];
    let now = FIRST_TIME;
    let seq = 0;
    const end = (status, more) => resolve({ status, journal, logs, shown, ...more });

    async function perform(service, method, args) {
      const entry = services[service];
      const values = JSON.parse(args);
      try {
        if (!entry) throw Object.assign(new Error(`No service ${service}`), { code: "unknown_service" });
        const value = typeof entry === "function" ? await entry(method, values) : await entry[method](...values);
        return { failed: false, payload: JSON.stringify(value === undefined ? null : value) };
      } catch (error) {
        return { failed: true, payload: recordFailure(error, service, method) };
      }
    }

    async function call(service, method, args, settle) {
      const index = seq++;
      const known = journal[index];
      if (known) {
        const same = known.service === service && known.method === method && known.args === args;
        if (!same) return end("divergent", { recorded: known, replayed: { service, method, args } });
        now = known.at;
        return settle(known.failed, known.payload);
      }
      if (index >= stopAfter) return end("suspended");
      const outcome = await perform(service, method, args);
      now += 7;
      journal[index] = { service, method, args, at: now, ...outcome };
      return settle(outcome.failed, outcome.payload);
    }

    const { run, parse } = task({
      now: () => now, call, log: (level, message) => logs.push({ level, message }),
      show: (what, text) => shown.push([what, JSON.parse(text)]),
    });
    const given = input === undefined ? undefined : parse(JSON.stringify(input));
    Promise.resolve()
      .then(() => run(given))
      .then(
        (value) => end("completed", { result: JSON.parse(JSON.stringify(value ?? null)), text: JSON.stringify(value) }),
        (error) => end("failed", { error }),
      );
  });
}
