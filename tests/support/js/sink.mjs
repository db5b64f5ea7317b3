// The sink: the outside world that tasks call through `http.fetch`. It keeps a ledger of every request that reached it and
// misbehaves on demand.
import http from "node:http";
import { once } from "node:events";

/**
 * Opens a sink on a free loopback port.
 * `sink.behave = (entry) => …` decides what happens to a request: undefined (answer), "hang" (never answer), "drop" (break
 * the connection after taking it in), {delayMs}, {status, body}. It may be a promise: the answer waits for it.
 * The answer's body is {"label", "arrival", "nonce"}: `nonce` differs with every arrival, so that a result which was
 * recorded, forgotten and asked for again shows.
 */
export async function openSink() {
  const entries = [];
  const arrivals = new Map();
  const sockets = new Set();
  let nonce = 0;

  const server = http.createServer((request, response) => {
    handle(request, response).catch((error) => {
      if (!request.destroyed) throw error;
    });
  });
  server.keepAliveTimeout = 240_000;
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });

  async function handle(request, response) {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const bytes = Buffer.concat(chunks);
    const key = (request.headers["idempotency-key"] ?? "").replaceAll('"', "");
    const label = decodeURIComponent(request.url.slice(1).split("?")[0]);
    const arrival = (arrivals.get(key) ?? 0) + 1;
    arrivals.set(key, arrival);
    const entry = { key, label, arrival, method: request.method, headers: request.headers, bytes, at: Date.now(), nonce: ++nonce };
    entries.push(entry);
    const wish = sink.behave ? await sink.behave(entry) : undefined;
    if (wish === "hang") return;
    if (wish === "drop") return void request.socket.destroy();
    if (wish?.delayMs) await new Promise((resolve) => setTimeout(resolve, wish.delayMs));
    const body = wish?.body ?? JSON.stringify({ label, arrival, nonce: entry.nonce });
    entry.answered = body;
    response.writeHead(wish?.status ?? 200, { "content-type": "application/json" });
    response.end(body);
  }

  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();

  const sink = {
    url: `http://127.0.0.1:${port}`,
    host: `127.0.0.1:${port}`,
    entries,
    behave: undefined,
    /** How many requests carried this label. */
    count: (label) => entries.filter((entry) => entry.label === label).length,
    of: (label) => entries.filter((entry) => entry.label === label),
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return sink;
}

/** A promise to be opened by hand: for `behave`, to hold an answer back until the test says so. */
export function gate() {
  let open;
  const passed = new Promise((resolve) => {
    open = resolve;
  });
  return { passed, open };
}

/** Task code that calls the sink: `await sink(label, callOptions?)`; the run's input has the sink's `url`. */
export const SINK_CLIENT = `
let sinkUrl;
async function sink(label, options) {
  const request = { url: sinkUrl + "/" + encodeURIComponent(label), method: "POST", body: JSON.stringify({ label }) };
  const reply = await __callHostTool__("http", "fetch", [request], options);
  if (reply.status !== 200) throw new Error("the sink answered " + reply.status + " to " + label);
  return JSON.parse(reply.body);
}
`;

/** A whole task around a body that may use `input` and `sink`. */
export const sinkTask = (body) => `${SINK_CLIENT}
module.exports = async function (input) {
  sinkUrl = input.url;
${body}
};
`;
