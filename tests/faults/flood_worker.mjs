// The flood of flood.test.mjs, on a thread of its own so that it does not hold up who measures: requests to /stack/process at a
// steady rate over a few pipelined connections, well signed or badly. Ends with {sent, statuses, codes, retryAfter, lasted}.
import { createHash, createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import net from "node:net";
import { parentPort, workerData } from "node:worker_threads";

const TICK_MS = 4;
const OUTSTANDING_MAX = 64;  // requests without an answer on one connection

const { url, keyFile, ids, perSecond, ms, bad, connections = 8 } = workerData;
const { hostname, port } = new URL(url);
const secret = Buffer.from(readFileSync(keyFile, "utf8").trim(), "hex");
const hex = (data) => createHash("sha256").update(data).digest("hex");
const kid = hex(secret).slice(0, 8);
const prefix = hex(String(process.hrtime.bigint())).slice(0, 12);
const hashes = new Map();
const counts = { sent: 0, skipped: 0, statuses: {}, codes: {}, retryAfter: 0, states: {} };

// As server/src/chain/signature.h says; what proxy.mjs has for single hints, with the hashes kept.
function sign(body, n) {
  if (!hashes.has(body)) hashes.set(body, hex(body));
  const ts = Date.now();
  const nonce = `${prefix}${n}`;
  const mac = createHmac("sha256", secret).update(`v1\nPOST\n/stack/process\n${ts}\n${nonce}\n${hashes.get(body)}`).digest("hex");
  return `v1,${kid},${ts},${nonce},${mac}`;
}

function request(n) {
  const id = ids[n % ids.length];
  const body = id === 0 ? "{}" : `{"stackRunId":${id}}`;
  const signature = sign(body, n);
  const header = bad ? signature.slice(0, -2) + (signature.endsWith("00") ? "11" : "00") : signature;
  return `POST /stack/process HTTP/1.1\r\nHost: ${hostname}:${port}\r\nContent-Type: application/json\r\nPrefer: respond-async\r\n` +
    `X-Chain: ${header}\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
}

function note(head, body) {
  const status = head.slice(9, 12);
  counts.statuses[status] = (counts.statuses[status] ?? 0) + 1;
  if (/^retry-after:/im.test(head)) counts.retryAfter += 1;
  const code = /"code":"(\w+)"/.exec(body)?.[1];
  if (code) counts.codes[code] = (counts.codes[code] ?? 0) + 1;
  const state = /"status":"(\w+)"/.exec(body)?.[1];
  if (state) counts.states[state] = (counts.states[state] ?? 0) + 1;
}

function open() {
  const socket = net.connect(Number(port), hostname);
  socket.setNoDelay(true);
  const lane = { socket, outstanding: 0 };
  let received = "";
  socket.setEncoding("latin1").on("data", (text) => {
    received += text;
    for (;;) {
      const end = received.indexOf("\r\n\r\n");
      if (end < 0) return;
      const head = received.slice(0, end);
      const length = Number(/^content-length: (\d+)/im.exec(head)?.[1] ?? 0);
      if (received.length < end + 4 + length) return;
      note(head, received.slice(end + 4, end + 4 + length));
      received = received.slice(end + 4 + length);
      lane.outstanding -= 1;
    }
  });
  return new Promise((resolve, reject) => {
    socket.once("connect", () => {
      socket.on("error", () => {});
      resolve(lane);
    }).once("error", reject);
  });
}

const lanes = await Promise.all(Array.from({ length: connections }, open));
const began = performance.now();
let n = 0;

function tick() {
  const now = performance.now() - began;
  const wanted = Math.floor((Math.min(now, ms) * perSecond) / 1_000);
  const batches = new Map();
  for (; n < wanted; n++) {
    const lane = lanes[n % lanes.length];
    if (lane.outstanding >= OUTSTANDING_MAX) {
      counts.skipped += 1;  // it is not taken faster than this
      continue;
    }
    lane.outstanding += 1;
    counts.sent += 1;
    batches.set(lane, (batches.get(lane) ?? "") + request(n));
  }
  for (const [lane, text] of batches) lane.socket.write(text);
  if (now < ms) return void setTimeout(tick, TICK_MS);
  const lasted = now;
  const deadline = performance.now() + 10_000;
  (function finish() {
    if (lanes.some((lane) => lane.outstanding > 0) && performance.now() < deadline) return void setTimeout(finish, TICK_MS);
    for (const { socket } of lanes) socket.destroy();
    parentPort.postMessage({ ...counts, lasted, unanswered: lanes.reduce((sum, lane) => sum + lane.outstanding, 0) });
  })();
}
tick();
