// Random programs and their model. A program is data; one interpreter runs it, as task code in the server and, with recorded
// outcomes instead of calls, here. Its result is a pure function of the program and of what its calls were answered.

const GOOGLE_SHARE = 0.1;  // of calls
const PEEK_SHARE = 0.02;   // of steps

/**
 * The interpreter as source text, because it is also task code. `host` = {call(node), echo(value), fail(code), peek(), sleep(ms),
 * log(text)}.
 */
export const INTERPRETER = `
function readReply(reply) {
  if (reply.status !== 200) throw Object.assign(new Error("the sink answered " + reply.status), { code: "status_" + reply.status });
  return JSON.parse(reply.body);
}
async function interpret(program, host) {
  const counters = {};
  let hash = 17;
  let steps = 0;
  const mix = (value) => {
    for (const char of String(value)) hash = (Math.imul(hash, 31) + char.charCodeAt(0)) >>> 0;
    steps++;
  };
  async function run(node) {
    switch (node.op) {
      case "count":
        counters[node.name] = (counters[node.name] || 0) + node.by;
        mix(node.name + counters[node.name]);
        return counters[node.name];
      case "call": {
        const answer = await host.call(node);
        mix(node.label + ":" + answer.nonce);
        if (answer.pad) mix(answer.pad.length + answer.pad.slice(-3));
        return answer.nonce;
      }
      case "echo": {
        const value = await host.echo(node.value);
        mix(JSON.stringify(value));
        return value;
      }
      case "fail":
        await host.fail(node.code);
        return mix("unreachable");
      case "peek":
        await host.peek();
        return mix("unreachable");
      case "throw":
        throw new Error(node.message);
      case "sleep":
        await host.sleep(node.ms);
        mix("slept");
        return node.ms;
      case "log":
        host.log(node.text + " " + hash);
        return 0;
      case "loop": {
        const out = [];
        for (let i = 0; i < node.times; i++) out.push(await run(node.body));
        return out;
      }
      case "seq": {
        const out = [];
        for (const one of node.body) out.push(await run(one));
        return out;
      }
      case "all":
        return Promise.all(node.body.map(run));
      case "settled":
        return (await Promise.allSettled(node.body.map(run))).map((one) => (one.status === "fulfilled" ? one.value : "!" + one.reason.message));
      case "race":
        return Promise.race(node.body.map(run));
      case "any":
        try {
          return await Promise.any(node.body.map(run));
        } catch (error) {
          mix(error.name);
          return error.errors.map((one) => one.message);
        }
      case "try":
        try {
          return await run(node.body);
        } catch (error) {
          mix("caught " + (error.code || error.message));
          return await run(node.handler);
        } finally {
          if (node.cleanup) await run(node.cleanup);
        }
    }
    throw new Error("unknown op " + node.op);
  }
  let value;
  try {
    value = await run(program);
  } catch (error) {
    value = "uncaught " + (error.code || error.message);
  }
  // Branches that nobody waits for may still count in this very turn.
  return { value, counters: { ...counters }, hash, steps };
}
`;

export const RANDOM_TASK = `${INTERPRETER}
module.exports = async function (input) {
  const host = {
    async call({ label, once, retry, bytes, timeoutMs, google }) {
      const url = input.url + "/" + label + (bytes ? "?bytes=" + bytes : "");
      const options = {};
      if (once) options.delivery = "at_most_once";
      if (retry) options.idempotent = true;
      if (timeoutMs) options.timeoutMs = timeoutMs;
      if (google) {
        return __callHostTool__("gapi", "gmail.users.labels.create", [{ userId: google, requestBody: { name: label } }], options);
      }
      return readReply(await __callHostTool__("http", "fetch", [{ url, method: "POST", body: label }], options));
    },
    echo: (value) => services.echo.echo(value),
    fail: (code) => services.echo.fail({ code, message: "failed with " + code }),
    peek: () => services.keystore.getKey("rig", "CANARY"),
    sleep,
    log: (text) => console.log(text),
  };
  return interpret(input.program, host);
};
`;

/**
 * A program of about `size` nodes. Labels of calls are unique within it. `more`: also calls at most once, with timeouts and
 * retries, large answers, long sleeps and many calls at once, for a world that misbehaves; calls that a service makes with a
 * secret of the keystore, and looks at a secret that no task may see.
 */
export function makeProgram(random, size, prefix, { more = false } = {}) {
  let left = size;
  let labels = 0;
  const call = () => {
    const node = { op: "call", label: `${prefix}-${++labels}` };
    if (!more) return node;
    node.timeoutMs = random.between(1_500, 2_500);
    if (random.chance(GOOGLE_SHARE)) node.google = random.pick(["a", "b", "c"]) + "@rig.test";
    if (random.chance(0.2)) node.once = true;
    else if (!node.google && random.chance(0.3)) node.retry = true;  // that service repeats by itself what may be repeated
    if (random.chance(0.04)) node.bytes = random.between(1_000, 100_000);
    return node;
  };
  const leaf = () => {
    left -= 1;
    if (more && random.chance(PEEK_SHARE)) return { op: "peek" };
    const kinds = ["call", "call", "call", "echo", "count", "count", "log", "sleep", "fail", "throw"];
    const op = random.pick(kinds);
    if (op === "call") return call();
    if (op === "echo") return { op, value: random.pick([1, "x", [1, { a: null }], "\u0000\ud83d\ude00", { nested: { b: [true] } }]) };
    if (op === "count") return { op, name: random.pick(["a", "b", "c"]), by: random.between(1, 5) };
    if (op === "log") return { op, text: `line ${++labels}` };
    if (op === "sleep") return { op, ms: random.between(0, more && random.chance(0.05) ? 1_200 : 40) };
    if (op === "fail") return { op, code: random.pick(["e1", "e2"]) };
    return { op, message: random.pick(["t1", "t2"]) };
  };
  const block = (depth, count) => ({ op: "seq", body: Array.from({ length: count }, () => node(depth)) });
  const node = (depth) => {
    if (left <= 0 || depth <= 0 || random.chance(0.45)) return leaf();
    left -= 1;
    if (more && random.chance(0.04)) {
      return { op: "settled", body: Array.from({ length: random.between(8, 24) }, () => (random.chance(0.6) ? call() : leaf())) };
    }
    const op = random.pick(["seq", "all", "all", "settled", "race", "any", "try", "try", "try", "loop"]);
    if (op === "seq") return block(depth - 1, random.between(2, 4));
    // Labels in a loop repeat, and that is well: keys do not.
    if (op === "loop") return { op, times: random.between(2, 4), body: node(depth - 1) };
    if (op === "try") {
      return { op, body: block(depth - 1, random.between(1, 3)), handler: node(depth - 1), cleanup: random.chance(0.5) ? node(depth - 1) : undefined };
    }
    return { op, body: Array.from({ length: random.between(2, 5) }, () => node(depth - 1)) };
  };
  const guarded = () => ({ op: "try", body: block(4, random.between(2, 4)), handler: leaf() });
  const body = [];
  while (left > 0) body.push(guarded());
  return { op: "seq", body };
}

const { interpret, readReply } = new Function(`${INTERPRETER}; return { interpret, readReply };`)();

/**
 * What the program must end with, given the recorded outcomes in delivery order: {seq, failed, payload} with payload as JSON
 * text. Answers {result, logs, calls}; throws if the journal has an outcome of a call that the program had not made by then.
 */
export async function model(program, outcomes) {
  const waiting = new Map();
  const logs = [];
  let calls = 0;
  let result;
  const issue = (convert) => new Promise((resolve, reject) => waiting.set(++calls, { resolve: (value) => resolve(convert(value)), reject }));
  const host = {
    call: ({ google }) => (google ? issue((value) => value) : issue((reply) => reply).then(readReply)),
    echo: () => issue((value) => value),
    fail: () => issue((value) => value),
    peek: () => issue((value) => value),
    sleep: () => issue(() => undefined),
    log: (text) => logs.push(text),
  };
  interpret(program, host).then((value) => { result = value; });
  const drain = () => new Promise((resolve) => setImmediate(resolve));
  await drain();
  for (const { seq, failed, payload } of outcomes) {
    if (result !== undefined) break;
    const call = waiting.get(seq);
    if (!call) throw new Error(`the journal has an outcome of call ${seq}; the program had made ${calls} calls`);
    waiting.delete(seq);
    const value = JSON.parse(payload);
    if (failed) call.reject(Object.assign(new Error(value.message), { code: value.code }));
    else call.resolve(value);
    await drain();
  }
  return { result, logs, calls };
}
