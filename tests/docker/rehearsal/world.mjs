// The containers of one compose file on one network, and a client that stands where a user of the published port stands.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import { join } from "node:path";
import { plan } from "./compose.mjs";
import { Container, makeNetwork } from "./container.mjs";
import { options, say } from "./shell.mjs";

const REQUEST_MS = 120_000;

/** A task that takes steps × pauseMs, with two recorded calls in each step. */
export const SLOW_TASK = `module.exports = async function (input) {
  let sum = 0;
  for (let i = 0; i < input.steps; i += 1) {
    await sleep(input.pauseMs);
    sum += (await services.echo.echo({ i })).i;
  }
  return { sum };
};
`;

export class World {
  static async open(statePath) {
    const state = JSON.parse(readFileSync(statePath, "utf8"));
    options.verbose = state.verbose;
    const { services, subnet } = plan(state.compose);
    const network = await makeNetwork(subnet);
    const hosts = services.map(({ name, address }) => [name, address]);
    const containers = services.map((service, index) => new Container(service, state.images[service.image],
      { work: state.work, hosts, network, index }));
    return new World(state, containers);
  }

  constructor(state, containers) {
    this.state = state;
    this.containers = containers;
    this.token = readFileSync(join(state.project, "docker/secrets/api_token"), "utf8").trim();
    this.forwarders = [];
  }

  get(name) { return this.containers.find((container) => container.name === name); }

  /** `docker compose up --wait`: each when what it depends on is healthy; then all. */
  async up() {
    for (const container of this.containers) {
      for (const { name, condition } of container.service.dependsOn) {
        assert.equal(condition, "service_healthy");
        if (!this.get(name).seenHealthy) await this.healthy(this.get(name));
      }
      await container.start();
    }
    for (const container of this.containers) if (!container.seenHealthy) await this.healthy(container);
    for (const container of this.containers) for (const port of container.service.ports) await this.#publish(container, port);
  }

  async healthy(container) {
    await container.healthy();
    container.seenHealthy = true;
  }

  /** A published port: connections to it go to the container's. */
  async #publish(container, { address, host, container: port }) {
    const server = net.createServer((client) => {
      const inner = net.connect(port, container.service.address);
      for (const [one, other] of [[client, inner], [inner, client]]) {
        one.pipe(other);
        one.on("error", () => other.destroy());
      }
    });
    await new Promise((resolve) => { server.listen(host, address, resolve); });
    this.forwarders.push(server);
    this.url = `http://${address}:${host}`;
    say(`${container.name} is published at ${this.url}`);
  }

  /** One request: {status, headers, body}; the body parsed where it is JSON. */
  request(method, path, { body, headers = {}, base = this.url, token = this.token } = {}) {
    const all = { ...(token ? { Authorization: `Bearer ${token}` } : {}), ...headers };
    if (body !== undefined) all["Content-Length"] = Buffer.byteLength(body);
    return new Promise((resolve, reject) => {
      const request = http.request(base + path, { method, headers: all, timeout: REQUEST_MS, agent: false }, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (data) => { text += data; });
        response.on("error", reject);
        response.on("end", () => {
          const json = /json/.test(response.headers["content-type"] ?? "");
          resolve({ status: response.statusCode, headers: response.headers, body: json ? JSON.parse(text) : text });
        });
      });
      request.on("timeout", () => request.destroy(new Error(`${method} ${path}: no answer`)));
      request.on("error", reject);
      request.end(body);
    });
  }

  async publish(name, code) {
    const answer = await this.request("PUT", `/tasks/${name}`, { body: code, headers: { "Content-Type": "text/javascript" } });
    assert.ok(answer.status === 200 || answer.status === 201, `publishing ${name}: ${answer.status} ${JSON.stringify(answer.body)}`);
  }

  execute(task, input, headers = {}) {
    return this.request("POST", "/tasks/execute", {
      body: JSON.stringify({ task, input }), headers: { "Content-Type": "application/json", ...headers },
    });
  }

  stats(container) {
    return this.request("GET", "/stats", { base: `http://${container.service.address}:8765` }).then(({ body }) => body);
  }

  /** Every call once: each step's sleep and its echo, recorded, in order. */
  async checkCalls(run, steps) {
    const { body } = await this.request("GET", `/runs/${run}/stack?limit=500`);
    const calls = body.stack.filter(({ seq }) => seq > 0).sort((a, b) => a.seq - b.seq);
    const expected = Array.from({ length: 2 * steps }, (_, i) => ({ seq: i + 1, method: i % 2 ? "echo" : "sleep", status: "completed" }));
    assert.deepEqual(calls.map(({ seq, method, status }) => ({ seq, method, status })), expected);
  }

  /** Stops in the reverse order of the start; every program must end by itself and with 0. */
  async down() {
    for (const container of [...this.containers].reverse()) {
      const started = Date.now();
      const how = await container.stop();
      assert.ok(!container.late, `${container.name} did not stop within ${container.service.stopMs} ms`);
      assert.deepEqual(how, { code: 0, signal: null }, `${container.name} ended with ${JSON.stringify(how)}`);
      say(`${container.name} stopped in ${Date.now() - started} ms, exit 0`);
    }
    for (const server of this.forwarders) server.close();
  }
}

/** What holds for every container of the server: not root, no rights, nothing writable but its folders. */
export async function checkHardening(container) {
  const inside = await container.exec(["sh", "-c", "id -u; grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status; touch /usr/x 2>&1 || true; cat /run/secrets/api_token >/dev/null && echo readable"]);
  const [uid, ...rest] = inside.trim().split("\n");
  assert.notEqual(uid, "0");
  assert.match(rest.join("\n"), /CapEff:\t0+\n.*CapBnd:\t0+\n.*NoNewPrivs:\t1\n.*Read-only file system\nreadable$/s);
  const programs = container.processes();
  assert.ok(programs.includes("sequential-runn") && programs.includes("sequential-engi"), `it runs ${programs}`);
  say(`${container.name} runs as uid ${uid} without capabilities on a read-only root: ${programs.join(" ")}`);
}

export function play(scenario) {
  scenario(process.argv[2]).then(() => process.exit(0), (error) => {
    process.stderr.write(`rehearse: ${error.stack}\n`);
    process.exit(1);
  });
}
