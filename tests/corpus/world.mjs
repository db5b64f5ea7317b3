// The world of the corpus: what a task sees besides the language itself, as the product has it and as plain Node has it. Every
// call carries in its body what it is to be answered with, so that both worlds answer alike:
//   {label, value, after, broken}   answered with `value`, once the same run has made the call labelled `after`; `broken`: the
//                                   connection is broken instead. `noise` (times, drawn numbers) differs from run to run.
import { format } from "node:util";
import { compileFunction } from "node:vm";

/** Appended to every task, below its own lines. */
const HELPERS = (url) => `
function address(label) { return ${JSON.stringify(url)} + "/" + task.name + "/" + encodeURIComponent(label); }
async function call(label, value = label, { after, broken, noise } = {}) {
  const request = { url: address(label), method: "POST", body: JSON.stringify({ label, value, after, broken, noise }) };
  return JSON.parse((await __callHostTool__("http", "fetch", [request], broken && { retry: false })).body);
}
`;
export const withHelpers = (code, url) => code + HELPERS(url);

/**
 * Makes a sink (sink.mjs) answer like that. At first it does so at once; after `hold()`, a call is answered only in a life of
 * the server that is later than the one in which the call arrived first: it was killed meanwhile.
 */
export function ruleSink(sink) {
  const waiting = new Set();     // of this life
  const calls = new Map();       // idempotency key → what its body says, and {run, first: life, answered: life}
  const labels = new Set();      // "run label" of every call that arrived
  let holding = false;
  const world = {
    life: 1,
    calls,
    kills: [],                   // when each life ended
    unequal: [],                 // keys whose later arrivals were not the same bytes
    hold() { holding = true; },
    /** The server is dead: whoever still waits is not answered, and what arrives is of the next life. */
    died() {
      world.kills.push(Date.now());
      world.life += 1;
      for (const one of waiting) one.answer("hang");
      waiting.clear();
    },
    /** The runs with a call that arrived in this life for the first time and waits for its end. */
    caught: () => new Set([...waiting].filter(({ call }) => call.first === world.life).map(({ call }) => call.run)),
  };
  const ready = ({ call: { run, after, first } }) =>
    (after === undefined || labels.has(`${run} ${after}`)) && (!holding || first < world.life);
  const pass = () => {
    for (const one of [...waiting].filter(ready)) {
      waiting.delete(one);
      one.call.answered = world.life;
      one.answer(one.call.broken ? "drop" : { body: JSON.stringify(one.call.value) });
    }
  };
  sink.behave = ({ key, bytes }) => new Promise((answer) => {
    const text = bytes.toString("utf8");
    if (!calls.has(key)) calls.set(key, { ...JSON.parse(text), text, run: Number(key.split(":")[0]), first: world.life });
    const call = calls.get(key);
    if (call.text !== text) world.unequal.push(key);
    labels.add(`${call.run} ${call.label}`);
    waiting.add({ call, answer });
    pass();
  });
  return world;
}

// --- Node as the oracle --------------------------------------------------------------------------------------------------

class HostCallError extends Error {
  constructor(message, facts) {
    super(message);
    this.name = "HostCallError";
    for (const [key, value] of Object.entries(facts)) Object.defineProperty(this, key, { value });
  }
}

function answerer() {
  const arrived = new Set();
  let waiting = [];
  return (text) => new Promise((resolve, reject) => {
    const { label, value, after, broken } = JSON.parse(text);
    arrived.add(label);
    const answer = () => {
      if (broken) reject(new HostCallError("broken", { code: "service_unavailable" }));
      else resolve(JSON.stringify(value));
    };
    waiting.push({ after, answer });
    setImmediate(() => {
      const ready = waiting.filter((one) => one.after === undefined || arrived.has(one.after));
      waiting = waiting.filter((one) => !ready.includes(one));
      for (const one of ready) setImmediate(one.answer);
    });
  });
}

const LEVELS = { debug: "debug", log: "info", info: "info", warn: "warn", error: "error" };

/** Runs a task in Node, undisturbed: {result: JSON text, logs: [[level, message]]}. */
export async function runInNode({ name, code }) {
  const answer = answerer();
  const logs = [];
  const globals = {
    module: { exports: {} },
    task: { id: 1, name, version: 1, started: Date.now() },
    __callHostTool__: async (service, method, [{ body }]) => ({ status: 200, body: await answer(body) }),
    fetch: async (url, { body }) => {
      const text = await answer(body).catch(() => { throw new TypeError("no answer"); });
      return new Response(text, { headers: { "content-type": "application/json" } });
    },
    sleep: (ms) => new Promise((resolve) => { setTimeout(resolve, ms); }),
    console: Object.fromEntries(Object.entries(LEVELS)
      .map(([method, level]) => [method, (...values) => { logs.push([level, format(...values)]); }])),
  };
  const load = compileFunction(withHelpers(code, "http://sink"), Object.keys(globals), { filename: `${name}.js` });
  load(...Object.values(globals));
  const alive = setInterval(() => {}, 1_000);  // some of Node's own timers do not keep it running
  try {
    return { result: JSON.stringify(await (0, globals.module.exports)({})), logs };
  } finally {
    clearInterval(alive);
  }
}
