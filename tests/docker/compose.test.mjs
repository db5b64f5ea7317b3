// The compose files: valid by the Compose specification, and wired so that they can work.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";
import Ajv from "ajv";
import { parse } from "yaml";
import { loadCompose, plan, readEnvFile } from "./rehearsal/compose.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const docker = join(root, "docker");
const files = ["docker-compose.yml", "docker-compose.sqlite.yml"];
const raw = (name) => parse(readFileSync(join(docker, name), "utf8"), { merge: true });
const settings = JSON.parse(readFileSync(join(root, "config/sequential.schema.json"), "utf8"));

/** The setting that a variable of the environment stands for, or undefined. */
function settingOf(variable) {
  const find = (node, words) => {
    if (words.length === 0) return node;
    for (let count = words.length; count > 0; count -= 1) {
      const inner = node.properties?.[words.slice(0, count).join("_").toLowerCase()];
      const found = inner && find(inner, words.slice(count));
      if (found) return found;
    }
    return undefined;
  };
  return find(settings, variable.replace(/^SEQUENTIAL_/, "").split("_"));
}

for (const name of files) {
  test(`${name} is valid by the Compose specification`, () => {
    const schema = JSON.parse(readFileSync(join(root, "tests/docker/node_modules/dclint/schemas/compose.schema.json"), "utf8"));
    const ajv = new Ajv({ strict: false, validateFormats: false, allErrors: true });
    // The published schema calls draft 7 by its https address.
    const validate = ajv.compile({ ...schema, $schema: "http://json-schema.org/draft-07/schema#" });
    assert.ok(validate(raw(name)), JSON.stringify(validate.errors, null, 1));
    assert.ok(!validate({ services: { a: { imagee: "b" } } }), "the schema refuses nothing");
  });

  test(`${name} names only settings that exist, and what it uses is declared`, () => {
    for (const service of plan(join(docker, name)).services.filter(({ build }) => build)) {
      const variables = Object.keys(service.environment).filter((key) => key.startsWith("SEQUENTIAL_"));
      assert.deepEqual(variables.filter((key) => !settingOf(key)), []);
      for (const value of Object.values(service.environment).filter((text) => text.startsWith("/run/secrets/"))) {
        assert.ok(service.mounts.some(({ target }) => target === value), `${service.name} has no secret at ${value}`);
      }
      assert.ok(service.readOnly && service.dropAll && service.noNewPrivileges && service.init, `${service.name} is not hardened`);
    }
  });

  test(`${name} works without .env, and .env.example has every variable with the same default`, () => {
    const example = readEnvFile(join(docker, ".env.example"));
    assert.deepEqual(loadCompose(join(docker, name), {}), loadCompose(join(docker, name), example));
    const used = [...readFileSync(join(docker, name), "utf8").matchAll(/\$\{(\w+)/g)].map(([, variable]) => variable);
    assert.deepEqual(used.filter((variable) => !(variable in example)), []);
  });

  test(`${name} publishes one port, to this machine only`, () => {
    const published = plan(join(docker, name)).services.flatMap((service) => service.ports.map((port) => [service.name, port.address]));
    assert.deepEqual(published, [[name === files[0] ? "nginx" : "server", "127.0.0.1"]]);
  });
}

test("both nodes are alike and nginx knows every node", () => {
  const { services } = raw(files[0]);
  const nodes = Object.keys(services).filter((name) => name.startsWith("node-"));
  assert.deepEqual(nodes, ["node-1", "node-2"]);
  const [one, two] = nodes.map((name) => ({ ...services[name], networks: undefined, volumes: undefined }));
  assert.deepEqual(one, two);
  for (const name of nodes) assert.deepEqual(services[name].volumes, [`${name}:/var/lib/sequential-runner`], "its own, never shared");
  const conf = readFileSync(join(docker, "nginx.conf"), "utf8");
  const upstream = [...conf.matchAll(/^\s*server (\S+):8765 /gm)].map(([, name]) => name);
  assert.deepEqual(upstream, nodes);
});

test("nginx waits longer than the server and closes idle connections before it", () => {
  const conf = readFileSync(join(docker, "nginx.conf"), "utf8");
  const seconds = (directive) => Number(new RegExp(`^\\s*${directive} (\\d+)s;`, "m").exec(conf)[1]);
  const { wait_seconds_max: wait, idle_timeout_ms: idle, submit_bytes_max: body } = settings.properties.server.properties;
  assert.ok(seconds("proxy_read_timeout") > wait.default);
  assert.ok(seconds("keepalive_timeout") * 1000 < idle.default);
  assert.ok(Number(/client_max_body_size (\d+)m;/.exec(conf)[1]) * 1024 * 1024 >= body.default);
  assert.equal(conf.match(/non_idempotent;/g).length, 1, "only what has an Idempotency-Key is sent twice");
});

test("a node gets time to drain, and its health check an answer", () => {
  for (const service of files.flatMap((name) => plan(join(docker, name)).services).filter(({ build }) => build)) {
    assert.ok(service.stopMs > settings.properties.server.properties.drain_ms.default + 2_000);
  }
});

test("make-secrets.sh makes each secret once, for its owner only, and .env with that owner", () => {
  const dir = mkdtempSync(join(tmpdir(), "sequential-secrets-"));
  try {
    const make = () => execFileSync(join(docker, "make-secrets.sh"), ["--dir", dir], { encoding: "utf8" });
    const read = (name) => readFileSync(join(dir, "secrets", name), "utf8");
    make();
    const names = readdirSync(join(dir, "secrets")).sort();
    const declared = new Set(files.flatMap((name) => Object.keys(raw(name).secrets)));
    assert.deepEqual(names, [...declared].sort());
    for (const name of names) assert.equal(statSync(join(dir, "secrets", name)).mode & 0o777, 0o400, name);
    const { uid, gid } = statSync(join(dir, "secrets/chain_key"));
    assert.equal(readEnvFile(join(dir, ".env")).SEQUENTIAL_USER, `${uid}:${gid}`);
    assert.notEqual(uid, 0, "containers do not run as root");
    assert.match(read("chain_key"), /^[0-9a-f]{64}\n$/);
    assert.match(read("api_token"), /^[0-9a-f]{64}\n$/);
    assert.match(JSON.parse(read("keystore_key")).key, /^[0-9a-f]{64}$/);
    assert.equal(new URL(read("store_url").trim()).password, read("postgres_password").trim());
    const before = names.map(read);
    make();
    assert.deepEqual(names.map(read), before, "a second time changes nothing");
  } finally {
    rmSync(dir, { recursive: true });
  }
});
