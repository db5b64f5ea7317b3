// The README's block with docker compose against the files that it uses, as far as that goes without a container engine.
// tests/e2e/readme.test.mjs runs it against a server.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { accessSync, constants, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";
import dockerignore from "@balena/dockerignore";
import { loadCompose, plan } from "./rehearsal/compose.mjs";
import { keyValues, readDockerfile } from "./rehearsal/dockerfile.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const section = readFileSync(join(root, "README.md"), "utf8").split("\n## With docker compose\n")[1].split("\n## ")[0];
const commands = /```bash\n([^]*?)```/.exec(section)[1].replaceAll("\\\n", " ").trim().split("\n");
const composeFiles = [...new Set(commands.flatMap((line) => [...line.matchAll(/ -f (\S+)/g)].map(([, path]) => path)))];
const services = () => plan(join(root, composeFiles[0])).services;
const stages = readDockerfile(join(root, "docker/Dockerfile"));

test("the block is at most four commands: secrets, up, publish, ask", () => {
  assert.ok(commands.length <= 4, commands.join("\n"));
  for (const line of commands) assert.doesNotMatch(line, /;|&&|\|/, "one command a line");
  const expected = [/^docker\/make-secrets\.sh$/, /^docker compose .* up .*--wait$/, /^docker compose .* exec \S+ .* publish /, /^curl /];
  expected.forEach((pattern, index) => assert.match(commands[index], pattern));
});

test("the files that it names are there, and can be run where it runs them", () => {
  accessSync(join(root, commands[0]), constants.X_OK);
  assert.deepEqual(composeFiles, ["docker/docker-compose.yml"]);
  assert.ok(existsSync(join(root, composeFiles[0])));
});

test("the service that it publishes in is a node, whose client knows the token", () => {
  const [, name] = / exec (\S+) /.exec(commands[2]);
  assert.equal(name, "node-1");
  const node = services().find((service) => service.name === name);
  assert.ok(node?.build, `${name} is not a service that is built here`);
  const image = Object.fromEntries(stages.at(-1).steps.filter(({ op }) => op === "ENV").flatMap((step) => keyValues(step.text)));
  const token = node.environment.SEQUENTIAL_SERVER_API_TOKEN_FILE;
  assert.equal(image.SEQUENTIAL_TOKEN_FILE, token);
  assert.ok(node.mounts.some(({ target }) => target === token));
  assert.equal(image.SEQUENTIAL_SERVER_PORT, "8765", "where the command line looks for a server");
});

test("the address that it asks, in the text too, is the one that is published, and nginx listens behind it", () => {
  const [, address, port] = /http:\/\/([\d.]+):(\d+)\/tasks\/execute/.exec(commands[3]);
  assert.equal(port, "8080");
  const fresh = loadCompose(join(root, composeFiles[0]), {});  // without the .env of whoever tests
  const published = Object.values(fresh.services).flatMap((service) => service.ports ?? []);
  assert.equal(published.length, 1);
  assert.ok(published[0].startsWith(`${address}:${port}:`), published[0]);
  const listens = new RegExp(`^\\s*listen (?:\\S+:)?${published[0].split(":")[2]}\\b`, "m");
  assert.match(readFileSync(join(root, "docker/nginx.conf"), "utf8"), listens);
  assert.ok(section.includes(`http://${address}:${port} `) || section.includes(`http://${address}:${port}\n`));
});

test("the task code that it publishes is where the Dockerfile puts it", () => {
  const [, pattern] = /publish (\S+)\/\*\.js/.exec(commands[2]);
  const copy = stages.at(-1).steps.find(({ op, text, flags }) => op === "COPY" && flags.from && pattern.startsWith(text.split(" ")[1]));
  assert.ok(copy, `no COPY fills ${pattern}`);
  const [source, target] = copy.text.split(" ");
  const made = source + pattern.slice(target.length);  // in the stage that builds
  const build = stages.find(({ name }) => name === copy.flags.from).steps;
  const [, from, to] = build.map(({ text }) => /\bcp -r (\S+) (\/out\/share\/\S*)/.exec(text)).find(Boolean);
  assert.ok(made.startsWith(`${to}${from}/`), `${made} is not what "cp -r ${from} ${to}" makes`);
  assert.ok(build.some(({ op, text }) => op === "COPY" && text === ". ."));
  const ignored = dockerignore().add(readFileSync(join(root, ".dockerignore"), "utf8"));
  const [, task] = /"task": "([\w-]+)"/.exec(commands[3]);
  const file = `${made.slice(to.length)}/${task}.js`;
  assert.ok(existsSync(join(root, file)), file);
  assert.ok(!ignored.ignores(file), `${file} is not sent to the image`);
});

test("the token that it sends is what make-secrets.sh makes and compose gives to the nodes", () => {
  const [, path] = /Bearer \$\(cat (\S+)\)/.exec(commands[3]);
  const dir = mkdtempSync(join(tmpdir(), "sequential-readme-"));
  try {
    execFileSync(join(root, commands[0]), ["--dir", join(dir, "docker")], { encoding: "utf8" });
    assert.match(readFileSync(join(dir, path), "utf8"), /^\S{16,}\n$/);
  } finally {
    rmSync(dir, { recursive: true });
  }
  for (const node of services().filter(({ build }) => build)) {
    assert.ok(node.mounts.some(({ source }) => source === join(root, path)), `${node.name} does not get ${path}`);
  }
});
