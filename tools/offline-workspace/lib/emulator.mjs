// Starts the third-party emulator (`emulate`, pinned in package.json) on the loopback interface.
//
// Its programmatic start opens `server.listen(port)` without a host, which is every interface, offers no option for the
// host, and cannot report the port it got for port 0. So we run it inside this process and redirect that one listen call
// to 127.0.0.1 and a free port. Against the alternatives: a child with a --require preload needs the same redirection and
// is a process more that can outlive us; importing the emulator's Google plugin by its file name depends on a content hash
// and on the emulator's private router. Whatever a later version passes to listen(), the result here is loopback.
import { once } from "node:events";
import { randomBytes, webcrypto } from "node:crypto";
import http from "node:http";
import net from "node:net";

// The emulator allows 5,000 requests an hour for one token. A user gets several tokens, used in turn, so that a long test
// does not run into a limit that Google does not have.
const TOKENS_PER_USER = 40;

let starting = Promise.resolve();

/** Runs `start` while every listen() goes to 127.0.0.1, port 0; answers the server that listened. */
async function captureServer(start) {
  const original = net.Server.prototype.listen;
  let captured;
  net.Server.prototype.listen = function listenOnLoopback() {
    captured = this;
    return original.call(this, { host: "127.0.0.1", port: 0 });
  };
  try {
    await start();
  } finally {
    net.Server.prototype.listen = original;
  }
  if (!captured) throw new Error("the emulator opened no server");
  if (!captured.listening) await once(captured, "listening");
  return captured;
}

function makeTokens(users) {
  const byEmail = new Map();
  const seed = {};
  for (const user of users) {
    const tokens = [];
    for (let i = 0; i < TOKENS_PER_USER; i++) {
      const token = `offline-${randomBytes(12).toString("hex")}`;
      seed[token] = { login: user.email, scopes: [] };
      tokens.push(token);
    }
    byEmail.set(user.email, { tokens, next: 0 });
  }
  return { seed, byEmail };
}

async function open(google) {
  // Node 18 has no global Web Crypto; the emulator makes a key with it as soon as it is loaded.
  globalThis.crypto ??= webcrypto;
  const { createEmulator } = await import("emulate");
  const tokens = makeTokens(google.users);
  const server = await captureServer(() =>
    createEmulator({
      service: "google",
      port: 0,
      // Only its OAuth and discovery pages show this address. Given here, so that the environment cannot change it.
      baseUrl: "http://emulator.invalid",
      seed: { tokens: tokens.seed, google },
    }),
  );
  return { server, tokens: tokens.byEmail };
}

/** Starts the emulator with a seed in its own format; answers `forward()` and `close()`. */
export async function startEmulator(google) {
  // One at a time, because the redirection is global to the process while it lasts.
  const mine = starting.then(() => open(google));
  starting = mine.catch(() => {});
  const { server, tokens } = await mine;
  const { port, address } = server.address();
  if (address !== "127.0.0.1") throw new Error(`the emulator listens on ${address}`);
  const agent = new http.Agent({ keepAlive: true });

  function takeToken(email) {
    const entry = tokens.get(email);
    entry.next = (entry.next + 1) % entry.tokens.length;
    return entry.tokens[entry.next];
  }

  return {
    port,
    forward: (request) => forward(agent, port, takeToken(request.email), request),
    close() {
      agent.destroy();
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

/** One request to the emulator, its whole answer read: the front has to write the ledger before it answers. */
function forward(agent, port, token, { method, path, contentType, body }) {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${token}`, "content-length": body.length };
    if (contentType) headers["content-type"] = contentType;
    const request = http.request({ agent, host: "127.0.0.1", port, method, path, headers }, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () =>
        resolve({
          status: response.statusCode,
          contentType: response.headers["content-type"] ?? "application/json; charset=UTF-8",
          body: Buffer.concat(chunks),
        }),
      );
    });
    request.on("error", reject);
    request.end(body);
  });
}
