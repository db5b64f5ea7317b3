// HTTP as tests need it: nothing is followed, retried, added or hidden.
import http from "node:http";
import net from "node:net";

/**
 * One request. Answers {status, headers, bytes, text, json()}; rejects when the connection fails or `timeoutMs` is over.
 * @param {{url: string, method?: string, headers?: object, body?: string|Buffer, agent?: http.Agent, timeoutMs?: number}} r
 */
export function exchange({ url, method = "GET", headers = {}, body, agent, timeoutMs = 30_000 }) {
  return new Promise((resolve, reject) => {
    const all = { ...headers };
    if (body !== undefined) all["content-length"] = Buffer.byteLength(body);
    // The path is sent as it is written: a URL would resolve dots and escapes first.
    const { hostname, port, origin } = new URL(url);
    const request = http.request({ hostname, port, path: url.slice(origin.length) || "/", method, headers: all, agent });
    const timer = setTimeout(() => request.destroy(new Error(`${method} ${url}: no answer in ${timeoutMs} ms`)), timeoutMs);
    const fail = (error) => {
      clearTimeout(timer);
      reject(error);
    };
    request.on("error", fail);
    request.on("response", (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("error", fail);
      response.on("end", () => {
        clearTimeout(timer);
        const bytes = Buffer.concat(chunks);
        const text = bytes.toString("utf8");
        resolve({ status: response.statusCode, headers: response.headers, bytes, text, json: () => JSON.parse(text) });
      });
    });
    request.end(body);
  });
}

/** Raw bytes over one connection: `send`, `read(until)` and `closed`. */
export async function openRaw(url) {
  const { hostname, port } = new URL(url);
  const socket = net.connect(Number(port), hostname);
  socket.setNoDelay(true);
  let received = Buffer.alloc(0);
  let ended = false;
  let wake = () => {};
  socket.on("data", (chunk) => {
    received = Buffer.concat([received, chunk]);
    wake();
  });
  for (const event of ["end", "close", "error"]) {
    socket.on(event, () => {
      ended = true;
      wake();
    });
  }
  await new Promise((resolve, reject) => socket.once("connect", resolve).once("error", reject));

  async function wait(condition, what, ms) {
    const deadline = Date.now() + ms;
    for (;;) {
      const value = condition();
      if (value !== undefined) return value;
      const left = deadline - Date.now();
      if (left <= 0) throw new Error(`${what}: not in ${ms} ms; received ${JSON.stringify(received.toString("latin1").slice(0, 2000))}`);
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, left);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  return {
    send: (bytes) => socket.write(bytes),
    endWrites: () => socket.end(),
    /** The next whole answer: {status, headers, body}. `head`: it has no body whatever its length says. */
    async answer({ head = false, timeoutMs = 10_000 } = {}) {
      const parsed = await wait(() => {
        const answer = parseAnswer(received, head);
        if (answer === undefined && ended) throw new Error(`closed before a whole answer: ${JSON.stringify(received.toString("latin1"))}`);
        return answer;
      }, "an answer", timeoutMs);
      received = received.subarray(parsed.length);
      return parsed;
    },
    /** Waits until the other side has closed; answers what came before that. */
    closed: (timeoutMs = 10_000) => wait(() => (ended ? received : undefined), "the close", timeoutMs),
    destroy: () => socket.destroy(),
  };
}

function parseAnswer(bytes, head) {
  const end = bytes.indexOf("\r\n\r\n");
  if (end < 0) return undefined;
  const [statusLine, ...lines] = bytes.subarray(0, end).toString("latin1").split("\r\n");
  const headers = {};
  for (const line of lines) {
    const colon = line.indexOf(":");
    headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
  }
  const status = Number(statusLine.split(" ")[1]);
  const bodyless = head || status === 204 || status < 200;
  const size = bodyless ? 0 : Number(headers["content-length"] ?? 0);
  const length = end + 4 + size;
  if (bytes.length < length) return undefined;
  return { status, headers, body: bytes.subarray(end + 4, length).toString("utf8"), length };
}
