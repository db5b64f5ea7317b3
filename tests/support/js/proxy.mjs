// A proxy in front of a node for its chain requests: they can be captured, held back, doubled, dropped and reordered.
import { createHash, createHmac, randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import http from "node:http";
import { exchange } from "./http.mjs";

/**
 * `proxy.target` is the node's URL. `proxy.treat = async (hint, forward) => …` decides what happens to a hint
 * {headers, body}; without it every hint is forwarded once. Hints are answered 202 at once: they are fire and forget.
 */
export async function openChainProxy() {
  const captured = [];
  const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });
  const forwarded = new Set();

  async function forward({ body, headers }) {
    const signature = headers["x-chain"] ? { "x-chain": headers["x-chain"] } : {};
    const sending = exchange({
      url: `${proxy.target}/stack/process`, method: "POST", body, agent,
      headers: { "content-type": "application/json", prefer: headers.prefer ?? "respond-async", ...signature },
    }).catch((error) => ({ status: 0, error }));
    forwarded.add(sending);
    const answer = await sending;
    forwarded.delete(sending);
    return answer;
  }

  const server = http.createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const hint = { method: request.method, url: request.url, headers: request.headers, body: Buffer.concat(chunks).toString("utf8"), at: Date.now() };
    captured.push(hint);
    response.writeHead(202, { "content-type": "application/json" });
    response.end('{"success":true,"data":{"status":"accepted"}}');
    if (proxy.treat) await proxy.treat(hint, forward);
    else await forward(hint);
  });
  server.keepAliveTimeout = 240_000;
  server.listen(0, "127.0.0.1");
  await once(server, "listening");

  const proxy = {
    url: `http://127.0.0.1:${server.address().port}`,
    target: undefined,
    treat: undefined,
    captured,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await Promise.all(forwarded);
      agent.destroy();
    },
  };
  return proxy;
}

/** Signs as a node would (server/src/chain/signature.h); `changes` spoils one part. */
export function signHint(keyFile, body, changes = {}) {
  const secret = Buffer.from(readFileSync(keyFile, "utf8").trim(), "hex");
  const sha = (data) => createHash("sha256").update(data).digest();
  const kid = changes.kid ?? sha(secret).subarray(0, 4).toString("hex");
  const ts = String(changes.ts ?? Date.now());
  const nonce = changes.nonce ?? randomBytes(8).toString("hex");
  const text = `v1\nPOST\n/stack/process\n${ts}\n${nonce}\n${sha(body).toString("hex")}`;
  const mac = createHmac("sha256", changes.secret ?? secret).update(text).digest("hex");
  return [changes.version ?? "v1", kid, changes.claimedTs ?? ts, nonce, changes.mac ?? mac].join(",");
}
