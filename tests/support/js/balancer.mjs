// HAProxy in front of several nodes, on a free loopback port that it inherits.
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import net from "node:net";
import { join } from "node:path";
import { startChild } from "./children.mjs";
import { exchange } from "./http.mjs";
import { removeDir, tempDir } from "./temp.mjs";
import { until, within } from "./wait.mjs";

const config = (backends, control) => `
global
  maxconn 2000
  stats socket ${control} mode 600 level admin
defaults
  mode http
  timeout connect 2s
  timeout client 320s
  timeout server 320s
  timeout queue 5s
  http-reuse safe
frontend all
  bind fd@3
  default_backend nodes
# As docs/deploy.md has it.
backend nodes
  balance roundrobin
  # A request that no node has seen, that a node was stopping to take, or that it died of, is given to another one: as
  # docker/nginx.conf does, and like there only if it may be repeated.
  retries 2
  option redispatch 1
  retry-on conn-failure empty-response 503
  http-request disable-l7-retry if METH_POST !{ req.hdr(idempotency-key) -m found } !{ path /stack/process }
  # With a Host: the server refuses names that are not its own (server.allowed_hosts), and no name at all.
  option httpchk
  http-check send meth GET uri /readyz ver HTTP/1.1 hdr Host localhost
  http-check expect status 200
  # A busy node is not a dead one: without this an answer must come within "inter".
  timeout check 5s
  default-server check inter 200ms fall 1 rise 1
${backends.map((url, index) => `  server n${index + 1} ${url ? new URL(url).host : "127.0.0.1:1 disabled"}`).join("\n")}
`;

/** One command on HAProxy's own socket; its answer. */
function tell(control, command) {
  return within(`haproxy to answer to "${command}"`, 10_000, new Promise((resolve, reject) => {
    let answer = "";
    const socket = net.connect(control, () => socket.end(`${command}\n`));
    socket.setEncoding("utf8").on("data", (text) => { answer += text; });
    socket.on("end", () => resolve(answer.trim())).on("error", reject);
  }));
}

/**
 * @param {(string|undefined)[]} nodes URLs; undefined: a place for a node that starts later (nodes that must know the
 *   balancer's URL to start). Their index is their place.
 */
export async function openBalancer(nodes) {
  const socket = net.createServer();
  socket.listen(0, "127.0.0.1");
  await once(socket, "listening");
  const { port } = socket.address();
  const dir = tempDir("sequential-balancer");
  const file = join(dir, "haproxy.cfg");
  const control = join(dir, "control");
  writeFileSync(file, config(nodes, control));
  const child = startChild("haproxy", ["-db", "-q", "-f", file], { stdio: ["ignore", "ignore", "pipe", socket._handle.fd] });
  let log = "";
  child.stderr.setEncoding("utf8").on("data", (text) => { log = (log + text).slice(-16_384); });
  let gone;
  child.exited.then((how) => { gone = how; });
  socket.close();
  const url = `http://127.0.0.1:${port}`;
  const working = (what, condition) => until(what, () => {
    if (gone) throw new Error(`haproxy ended: ${JSON.stringify(gone)}\n${log}`);
    return condition();
  });

  const balancer = {
    url,
    /** What it knows of every place: {status: "UP" | "DOWN" | "MAINT" …, checked: how, requests: how many it was given}. */
    async places() {
      const [head, ...lines] = (await tell(control, "show stat")).replace(/^# /, "").split("\n").map((line) => line.split(","));
      const column = (line, name) => line[head.indexOf(name)];
      return lines.filter((line) => line[0] === "nodes" && line[1] !== "BACKEND")
        .map((line) => ({ status: column(line, "status"), checked: column(line, "check_status"), requests: Number(column(line, "stot")) }));
    },
    /** A node has (re)started at this URL: it is given work once it says that it is ready, and from then on this returns. */
    async place(index, node) {
      const name = `nodes/n${index + 1}`;
      const { hostname, port: at } = new URL(node);
      await tell(control, `set server ${name} state maint`);
      await tell(control, `set server ${name} addr ${hostname} port ${at}`);
      await tell(control, `set server ${name} state ready`);
      await working(`the balancer to reach ${node}`, async () => {
        const ready = await exchange({ url: `${node}/readyz` }).then((answer) => answer.status === 200, () => false);
        const { status, checked } = (await balancer.places())[index];
        return ready && status === "UP" && checked === "L7OK";
      });
    },
    /** Waits until a place is not given work any more. */
    without: (index) => working(`the balancer to leave out place ${index}`, async () =>
      (await balancer.places())[index].status.startsWith("DOWN")),
    async close() {
      child.kill("SIGTERM");
      await within("haproxy to end", 10_000, child.exited);
      removeDir(dir);
    },
  };
  await working("the balancer to work", () => tell(control, "show info").then(() => true, () => false));
  if (nodes.some(Boolean)) {
    await working("the balancer to reach a node", async () => {
      const answer = await exchange({ url: `${url}/readyz`, timeoutMs: 2_000 }).catch(() => undefined);
      return answer?.status === 200;
    });
  }
  return balancer;
}
