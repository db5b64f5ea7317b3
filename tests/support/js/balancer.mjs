// HAProxy in front of several nodes, on a free loopback port that it inherits.
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import net from "node:net";
import { join } from "node:path";
import { startChild } from "./children.mjs";
import { exchange } from "./http.mjs";
import { tempDir } from "./temp.mjs";
import { until, within } from "./wait.mjs";

const config = (backends) => `
global
  maxconn 2000
defaults
  mode http
  timeout connect 2s
  timeout client 320s
  timeout server 320s
  timeout queue 5s
  retries 2
  # A request that no node has seen is given to the next one; what a node has begun is not repeated.
  option redispatch
  retry-on conn-failure
  http-reuse safe
frontend all
  bind fd@3
  default_backend nodes
backend nodes
  balance roundrobin
  option httpchk GET /readyz
  http-check expect status 200
  default-server check inter 200ms fall 1 rise 1
${backends.map((url, index) => `  server n${index + 1} ${new URL(url).host}`).join("\n")}
`;

/** @param {string[]} nodes URLs */
export async function openBalancer(nodes) {
  const socket = net.createServer();
  socket.listen(0, "127.0.0.1");
  await once(socket, "listening");
  const { port } = socket.address();
  const file = join(tempDir("sequential-balancer"), "haproxy.cfg");
  writeFileSync(file, config(nodes));
  const child = startChild("haproxy", ["-db", "-q", "-f", file], { stdio: ["ignore", "ignore", "pipe", socket._handle.fd] });
  let log = "";
  child.stderr.setEncoding("utf8").on("data", (text) => { log = (log + text).slice(-16_384); });
  let gone;
  child.exited.then((how) => { gone = how; });
  socket.close();
  const url = `http://127.0.0.1:${port}`;
  await until("the balancer to reach a node", async () => {
    if (gone) throw new Error(`haproxy ended: ${JSON.stringify(gone)}\n${log}`);
    const answer = await exchange({ url: `${url}/readyz`, method: "GET", timeoutMs: 2_000 }).catch(() => undefined);
    return answer?.status === 200;
  });
  return {
    url,
    async close() {
      child.kill("SIGTERM");
      await within("haproxy to end", 10_000, child.exited);
    },
  };
}
