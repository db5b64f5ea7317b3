// The rig's sink: the outside world that random programs call. It misbehaves by its mood, and its ledger holds only what has
// not been checked yet, so that it does not grow with the run.
import { once } from "node:events";
import http from "node:http";

const IDLE_MISBEHAVIOUR = 0.01;  // share of requests that it treats badly when in no mood
const LATE_MS = [20, 1_500];

const render = ({ label, arrival, nonce, bytes }) =>
  JSON.stringify({ label, arrival, nonce, ...(bytes ? { pad: "p".repeat(bytes - 3) + String(nonce % 1_000).padStart(3, "0") } : {}) });

/** Answers a call, or does to it what `behaviour` says. */
async function answerCall(request, response, { call, answer, behaviour, random }) {
  if (behaviour === "hang") return;
  if (behaviour === "cut" && random.chance(0.5)) return void request.socket.destroy();
  if (behaviour === "late") await new Promise((resolve) => setTimeout(resolve, random.between(...LATE_MS)));
  const status = behaviour === "errors" ? random.pick([500, 502, 503]) : 200;
  const body = render(answer);
  call.answers.push({ ...answer, status });
  if (behaviour === "cut") {
    response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(body) });
    response.write(body.slice(0, random.between(0, body.length - 1)), () => request.socket.destroy());
    return;
  }
  response.writeHead(status, { "content-type": "application/json" });
  response.end(body);
}

/**
 * @param random its own stream
 * @param {{google: object, onRequest: (text: string) => void}} options `google`: see google.mjs; onRequest hears of every request
 */
export async function openRigSink(random, { google, onRequest }) {
  const calls = new Map();  // key → {arrivals: [ms], answers: [{nonce, arrival, status, bytes}]}
  const sockets = new Set();
  let nonce = 0;

  const server = http.createServer((request, response) => {
    serve(request, response).catch(() => request.socket?.destroy());
  });
  server.keepAliveTimeout = 240_000;
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });

  function drawBehaviour() {
    if (!sink.misbehaves) return undefined;
    const { kind, share } = sink.mood;
    if (kind && random.chance(share)) return kind;
    return random.chance(IDLE_MISBEHAVIOUR) ? random.pick(["errors", "late", "cut"]) : undefined;
  }

  async function serve(request, response) {
    const at = Date.now();
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks).toString("utf8");
    onRequest(google.textOf(request, body));
    const key = (request.headers[google.isCall(request) ? "x-idempotency-key" : "idempotency-key"] ?? "").replaceAll('"', "");
    if (key && Number(key.split(":")[0]) <= sink.checkedThrough) sink.strays.push({ key, at });
    if (await google.answers(request, body, response)) return undefined;
    const [path, search] = request.url.slice(1).split("?");
    const label = google.isCall(request) ? JSON.parse(body).name : path;
    const call = calls.get(key) ?? { label, arrivals: [], answers: [] };
    calls.set(key, call);
    call.arrivals.push(at);
    sink.total += 1;
    const bytes = Number(/bytes=(\d+)/.exec(search ?? "")?.[1] ?? 0);
    const answer = { label, arrival: call.arrivals.length, nonce: ++nonce, bytes };
    const behaviour = drawBehaviour();
    if (behaviour) sink.misbehaved += 1;
    return answerCall(request, response, { call, answer, behaviour, random });
  }

  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();

  const sink = {
    url: `http://127.0.0.1:${port}`,
    host: `127.0.0.1:${port}`,
    calls,
    /** What it answered to that arrival, as text. */
    render,
    total: 0,
    misbehaved: 0,
    misbehaves: false,
    mood: { kind: undefined, share: 0 },
    /** Runs up to this id are checked: nothing more may arrive for them. */
    checkedThrough: 0,
    strays: [],
    /** From now on it behaves. Calls that wait for an answer which never comes end by their own timeouts. */
    heal() {
      sink.misbehaves = false;
      sink.mood = { kind: undefined, share: 0 };
    },
    forget(through) {
      sink.checkedThrough = through;
      calls.clear();
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return sink;
}
