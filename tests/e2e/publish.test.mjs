// Publishing what has to be bundled: TypeScript with files and packages of npm, through the command line, and code that is
// bundled already, over HTTP. Failures then name the author's file, line and column, also after kill -9 and a replay.
import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { cli } from "../support/js/cli.mjs";
import { Server } from "../support/js/server.mjs";
import { removeDir, tempDir } from "../support/js/temp.mjs";
import { until } from "../support/js/wait.mjs";

const OK = 0, USAGE = 2, REFUSED = 5;
const HERE = dirname(fileURLToPath(import.meta.url));
// Another than npm's, to see that an older one does: the image has Debian's.
const ESBUILD = process.env.SEQUENTIAL_TEST_ESBUILD ?? join(HERE, "node_modules/.bin/esbuild");
const TASKCODE = join(HERE, "../../taskcode");

const FILES = {
  "package.json": '{"name":"project","private":true}',
  // Line 9 makes a call by way of a package, line 10 one of its own, line 11 throws in lib/orders.ts.
  "src/task.ts": `import { retried } from "tiny-retry";
import { type Order, total } from "../lib/orders";
import names from "../data/names.json";

interface Input { order: Order; sleepMs?: number }

export default async function task(input: Input): Promise<string> {
  if (input.sleepMs) await sleep(input.sleepMs);
  const name: string = await retried(() => services.echo.echo(names[input.order.customer]!));
  const lines = await services.echo.echo(input.order.lines) as Order["lines"];
  const sum = total({ ...input.order, lines });
  return \`\${name} owes \${sum}\`;
}
`,
  "lib/orders.ts": `export interface Order {
  customer: string;
  lines: { price: number; count: number }[];
}

export function total(order: Order): number {
  return order.lines.reduce((sum, line) => {
    if (line.count < 0) throw new RangeError(\`count \${line.count} of \${order.customer}\`);
    return sum + line.price * line.count;
  }, 0);
}
`,
  "data/names.json": '{"ada":"Ada Lovelace"}',
  "node_modules/tiny-retry/package.json": '{"name":"tiny-retry","version":"1.0.0","main":"index.js"}',
  "node_modules/tiny-retry/index.js": `exports.retried = async function retried(make) {
  return await services.echo.echo(await make());
};
`,
};
const GOOD = { order: { customer: "ada", lines: [{ price: 3, count: 2 }, { price: 5, count: 1 }] } };
const BAD = { order: { customer: "ada", lines: [{ price: 3, count: -1 }] } };
const STACK = [
  "RangeError: count -1 of ada",
  /^ {4}at (?:\S+ )?\(?lib\/orders\.ts:8:31\)?$/,
  /^ {4}at Array\.reduce \(<anonymous>\)$/,
  /^ {4}at total \(lib\/orders\.ts:7:22\)$/,
  /^ {4}at (async )?task \(src\/task\.ts:11:15\)$/,
];

function checkStack(stack) {
  const lines = stack.split("\n");
  STACK.forEach((wanted, i) => {
    if (typeof wanted === "string") assert.equal(lines[i], wanted, stack);
    else assert.match(lines[i] ?? "", wanted, stack);
  });
  assert.equal(lines.length, STACK.length, stack);
}

describe("publishing what has to be bundled", () => {
  let server;
  let project;
  before(async () => {
    assert.ok(existsSync(ESBUILD), "scripts/npm-install.sh tests/e2e installs the esbuild of these tests");
    project = tempDir("sequential-project");
    for (const [name, text] of Object.entries(FILES)) file(name, text);
    server = new Server({ settings: { "engine.processes": 1, "store.lease_ms": 2_000, "store.sweep_ms": 200 } });
    await server.start();
  });
  after(async () => {
    await server.destroy();
    removeDir(project);
  });

  function file(name, text) {
    mkdirSync(dirname(join(project, name)), { recursive: true });
    writeFileSync(join(project, name), text);
    return name;
  }
  const run = (args, { env = { SEQUENTIAL_ESBUILD: ESBUILD }, cwd = project } = {}) => cli(server, args, { cwd, env });
  const publish = (...args) => run(["publish", ...args]);
  const ok = (ran) => {
    assert.equal(ran.code, OK, `${ran.stdout}\n${ran.stderr}`);
    return ran;
  };

  it("TypeScript with a file, a JSON file and a package of npm becomes one task that runs", async () => {
    const ran = ok(await publish("src/task.ts"));
    assert.match(ran.stdout, /^published task version 1, bundled from 4 files, [\d.]+ KiB of which [\d.]+ KiB are the source map\n$/);
    assert.equal(ran.stderr, "");
    assert.equal((await server.complete("task", GOOD)).result, "Ada Lovelace owes 11");
  });

  it("the same files give the same version wherever they are published from, and --json tells of the bundle", async () => {
    const ran = ok(await run(["publish", "task.ts", "--json"], { cwd: join(project, "src") }));
    const { version, created, bundled } = ran.json();
    assert.deepEqual([version, created, bundled.inputs], [1, false, 4]);
    assert.ok(bundled.bytes > bundled.source_map_bytes && bundled.source_map_bytes > 1000, ran.stdout);
    const { code } = await server.get("/tasks/task");
    assert.equal(code.length, bundled.bytes);
    assert.ok(!code.includes(project), "no path of the machine is in it");
  });

  it("an error shows the author's file, line and column, a call its line", async () => {
    const failed = await server.ended(await server.submit("task", BAD));
    assert.equal(failed.status, "failed");
    checkStack(failed.error.stack);
    const lines = (await server.stack(failed.id)).slice(1).map((row) => row.source_line);
    assert.deepEqual(lines, [9, undefined, 10], "of src/task.ts; what a package does after an await of its own has none");
    ok(await run(["run", "task", "--input", JSON.stringify(GOOD), "--wait"]));
    assert.match((await run(["run", "task", "--input", JSON.stringify(BAD), "--wait"])).stderr, /lib\/orders\.ts:8:31/);
  });

  it("after kill -9 in the middle and a replay the stack is the same", { timeout: 60_000 }, async () => {
    const id = await server.submit("task", { ...BAD, sleepMs: 1_500 });
    await until("the run to wait for its sleep", async () => (await server.stack(id)).length === 2);
    await server.kill9();
    await server.start();
    const failed = await server.ended(id);
    checkStack(failed.error.stack);
    assert.deepEqual((await server.stack(id)).slice(1).map((row) => row.source_line), [8, 9, undefined, 10]);
  });

  it("what the task sees of a stack is what everybody sees, also when every resume is a replay", { timeout: 60_000 }, async () => {
    file("src/seen.ts", `import { total } from "../lib/orders";
export default async (order: any) => {
  const seen: string[] = [];
  for (let i = 0; i < 3; i++) {
    try { total(order); } catch (error) { seen.push((error as Error).stack!); }
    await services.echo.echo(seen);
  }
  try { await services.echo.fail({ code: "no", message: "no" }); } catch (error) { seen.push((error as Error).stack!); }
  return seen;
};
`);
    ok(await publish("src/seen.ts"));
    await server.restart({ settings: { "engine.evict_always": true } });
    const { result } = await server.complete("seen", BAD.order);
    await server.restart({ settings: { "engine.evict_always": false } });
    assert.equal(result[1], result[2], "after a suspension the caller is gone from every stack");
    assert.match(result[0], /\(lib\/orders\.ts:7:22\)\n {4}at .*src\/seen\.ts:5:11/);
    assert.match(result[3], /^HostCallError: no\n {4}at .*src\/seen\.ts:8:29/);
  });

  it("code that was bundled elsewhere is published over HTTP and behaves the same", async () => {
    const { code } = await server.get("/tasks/task");
    const answer = await server.request("PUT", "/tasks/over-http", { body: code, headers: { "content-type": "text/javascript" } });
    assert.equal(answer.status, 201, answer.text);
    checkStack((await server.ended(await server.submit("over-http", BAD))).error.stack);
    assert.equal((await server.get("/tasks/over-http")).code, code, "the code is kept byte for byte, its map included");
  });

  it("a plain script is sent byte for byte, without any esbuild", async () => {
    const code = "// import x from 'x'\r\nmodule.exports = async () => '// require(\"x\")';\n";
    file("plain.js", code);
    const ran = ok(await run(["publish", "plain.js"], { env: { SEQUENTIAL_ESBUILD: "/no/such/esbuild" } }));
    assert.equal(ran.stdout, "published plain version 1\n");
    assert.equal((await server.get("/tasks/plain")).code, code);
    file("imports.js", "import x from './plain.js';\nexport default x;\n");
    const refused = await publish("imports.js", "--no-bundle");
    assert.equal(refused.code, REFUSED);
    assert.match(refused.stderr, /imports\.js:1:15: error: imports are not supported.*sequential-runner publish/);
    ok(await publish("imports.js"));
  });

  it("without an esbuild it says what to do", async () => {
    const bare = { PATH: join(project, "empty") };
    const ran = await run(["publish", "src/task.ts"], { env: bare });
    assert.equal(ran.code, USAGE);
    assert.match(ran.stderr, /src\/task\.ts is TypeScript, so it has to be bundled/);
    assert.ok(ran.stderr.includes(`Run \`npm install esbuild\` in ${project}`), ran.stderr);
    const wrong = await run(["publish", "src/task.ts", "--esbuild", "/no/such/esbuild"]);
    assert.equal(wrong.code, USAGE);
    assert.match(wrong.stderr, /\/no\/such\/esbuild \(--esbuild, or SEQUENTIAL_ESBUILD\) is not a program/);
  });

  it("an esbuild is found in node_modules above the file", async () => {
    file("node_modules/.bin/esbuild", `#!/bin/sh\nexec "${ESBUILD}" "$@"\n`);
    chmodSync(join(project, "node_modules/.bin/esbuild"), 0o755);
    assert.match(ok(await run(["publish", "src/task.ts"], { env: {} })).stdout, /^unchanged task version 1, bundled/);
  });

  it("a syntax error is shown by esbuild, with file, line and column", async () => {
    file("src/broken.ts", "export default async () => {\n  return 1 +;\n};\n");
    const ran = await publish("src/broken.ts");
    assert.equal(ran.code, REFUSED);
    assert.match(ran.stderr, /src\/broken\.ts cannot be bundled:\n.*Unexpected ";"/);
    assert.match(ran.stderr, /src\/broken\.ts:2:12:/);
    assert.equal(ran.stdout, "");
    assert.equal((await server.request("GET", "/tasks/broken")).status, 404);
  });

  it("modules of Node.js and packages that are missing are named, with what to use instead", async () => {
    file("src/node.ts", 'import { readFile } from "node:fs/promises";\nimport https from "https";\nimport left from "left-pad";\nexport default async () => [readFile, https, left];\n');
    const ran = await publish("src/node.ts");
    assert.equal(ran.code, REFUSED);
    assert.match(ran.stderr, /src\/node\.ts:1:25:/);
    assert.match(ran.stderr, /A task does not run in Node\.js and cannot import "node:fs\/promises"\. A task has no files: pass what it needs as its input/);
    assert.match(ran.stderr, /cannot import "https"\. Use fetch/);
    assert.ok(ran.stderr.includes(`"left-pad" is not installed: run \`npm install left-pad\` in ${project}`), ran.stderr);
    assert.doesNotMatch(ran.stderr, /--platform|external/);
  });

  it("an await at the top level is explained", async () => {
    file("src/top.ts", "const answer = await services.echo.echo(1);\nexport default async () => answer;\n");
    const ran = await publish("src/top.ts");
    assert.equal(ran.code, REFUSED);
    assert.match(ran.stderr, /Await only inside the task function/);
  });

  it("what fails while the bundle is loaded is shown in the author's file", async () => {
    file("src/loads.ts", 'import { settings } from "../lib/settings";\nexport default async () => settings;\n');
    file("lib/settings.ts", "export const settings = read();\n\nfunction read(): string {\n  throw new TypeError('no settings');\n}\n");
    const ran = await publish("src/loads.ts");
    assert.equal(ran.code, REFUSED);
    assert.match(ran.stderr, /lib\/settings\.ts:4:3: error: TypeError: no settings\n {2}4 \| +throw new TypeError/);
    const json = (await publish("src/loads.ts", "--json")).json();
    assert.deepEqual([json.code, json.source, json.line], ["code_invalid", "lib/settings.ts", 4]);
  });

  it("a bundle that exceeds what the server takes says how large it is", async () => {
    file("src/large.ts", `import text from "../data/large.txt";\nexport default async () => text.length;\n`);
    file("data/large.txt", "x".repeat(6 << 20));
    const ran = await publish("src/large.ts");
    assert.equal(ran.code, REFUSED);
    assert.match(ran.stderr, /bundled from \d files?, .* MiB of which .* are the source map\. The server's setting server\.publish_bytes_max/);
  });

  it("the TypeScript example that comes with the product runs", { timeout: 30_000 }, async () => {
    ok(await run(["publish", join(TASKCODE, "typescript/order-report.ts")]));
    const { result } = await server.complete("order-report", JSON.parse(readFileSync(join(TASKCODE, "typescript/order-report.json"), "utf8")));
    assert.deepEqual(result, { customers: [{ customer: "Ada", total: "EUR 17.50" }, { customer: "Grace", total: "EUR 4.20" }], orders: 3 });
    const failed = await server.ended(await server.submit("order-report", { orders: [{ customer: "Ada", cents: 0.5 }] }));
    assert.match(failed.error.stack, /^RangeError: .*\n {4}at .*lib\/money\.ts:\d+:\d+/);
    await server.check();
  });
});
