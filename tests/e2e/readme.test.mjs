// What the README promises, done literally: its walk-through runs as it stands, its task can be published.
import assert from "node:assert/strict";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { startChild } from "../support/js/children.mjs";
import { binary, cleanEnv, Server } from "../support/js/server.mjs";
import { removeDir, tempDir } from "../support/js/temp.mjs";
import { within } from "../support/js/wait.mjs";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../..");
const README = readFileSync(join(ROOT, "README.md"), "utf8");

/** The first fenced block of that language under a heading. */
function block(heading, language) {
  const section = README.split(`\n## ${heading}\n`)[1].split("\n## ")[0];
  const found = new RegExp("```" + language + "\\n([^]*?)```").exec(section);
  assert.ok(found, `${heading}: a block of ${language}`);
  return found[1];
}

async function bash(script) {
  const child = startChild("bash", ["-c", script], { cwd: ROOT, env: cleanEnv(), stdio: ["ignore", "pipe", "pipe"] });
  let out = "";
  let err = "";
  child.stdout.setEncoding("utf8").on("data", (text) => { out += text; });
  child.stderr.setEncoding("utf8").on("data", (text) => { err += text; });
  const drained = Promise.all([child.stdout, child.stderr].map((stream) => new Promise((resolve) => stream.once("close", resolve))));
  const how = await within("the walk-through", 60_000, child.exited);
  await drained;
  return { ...how, out, err };
}

describe("the README", () => {
  let server;
  before(async () => {
    server = new Server({ settings: { "engine.processes": 1 } });
    await server.start();
  });
  after(() => server.destroy());

  it("its walk-through with curl works from the first line to the last", { timeout: 90_000 }, async () => {
    const [, ...lines] = block("With curl", "bash").split("\n");  // the first starts the server
    // `|| kill`: a failure inside $(…) ends the script too.
    const strict = "set -e\ncurl() { command curl --silent --show-error --fail-with-body \"$@\" && echo || kill $$; }\n";
    const ran = await bash(strict + lines.join("\n").replaceAll("http://127.0.0.1:8765", server.url));
    assert.equal(ran.code, 0, `${ran.out}\n${ran.err}`);
    const answers = ran.out.split("\n").filter(Boolean).map((line) => JSON.parse(line));
    const [hello, countdown, executed, submitted, run, stack, logs] = answers;
    assert.deepEqual([hello.name, countdown.name], ["hello-world", "countdown"]);
    assert.deepEqual(executed.data.result, { greeting: "Hello, Ada!" });
    assert.equal(run.id, submitted.data.taskRunId);
    assert.equal(run.task, "countdown");
    assert.equal(stack.stack[0].seq, 0);
    assert.ok(Array.isArray(logs.logs));
    assert.equal((await server.ended(run.id)).status, "completed");
  });
  it("its block with docker compose works, with this server for the containers", { timeout: 90_000 }, async () => {
    const [secrets, ...commands] = block("With docker compose", "bash").trim().split("\n");
    const dir = tempDir("sequential-readme");
    const made = await bash(`${secrets} --dir ${dir}`);
    assert.equal(made.code, 0, made.err);
    const token = join(dir, "secrets/api_token");
    const node = new Server({ settings: { "engine.processes": 1, "server.api_token_file": token } });
    try {
      await node.start();
      // What `exec` runs finds in its container what is said here: programs, server, token.
      const standIn = `set -e
        export PATH=${dirname(resolve(binary()))}:$PATH SEQUENTIAL_SERVER=${node.url}
        docker() {
          case "$*" in
            "compose -f docker/docker-compose.yml up "*) ;;
            "compose -f docker/docker-compose.yml exec node-1 "*) shift 5; SEQUENTIAL_TOKEN_FILE=${token} "$@" ;;
            *) echo "not expected: docker $*" >&2; return 1 ;;
          esac
        }
        curl() { command curl --silent --show-error --fail-with-body "$@"; }\n`;
      const script = commands.join("\n").replaceAll("/usr/local/share/sequential-runner/", `${ROOT}/`)
        .replaceAll("docker/secrets/", `${dir}/secrets/`).replaceAll("http://127.0.0.1:8080/", `${node.url}/`);
      const ran = await bash(standIn + script);
      assert.equal(ran.code, 0, `${ran.out}\n${ran.err}`);
      assert.deepEqual(JSON.parse(ran.out.trim().split("\n").at(-1)).data.result, { greeting: "Hello, Ada!" });
      const headers = { authorization: `Bearer ${readFileSync(token, "utf8").trim()}` };
      const published = (await node.request("GET", "/tasks", { headers })).json().tasks.map(({ name }) => `${name}.js`);
      assert.deepEqual(published.sort(), readdirSync(join(ROOT, "taskcode/endpoints")).sort());
    } finally {
      await node.destroy();
      removeDir(dir);
    }
  });
  it("its task can be published as it stands", () => server.publish("of-the-readme", block("A task", "js")));
  it("the files and folders that it names are there", () => {
    const named = [...README.matchAll(/[@\s`](taskcode\/[\w./-]+|[\w./-]+\.sh)\b/g)].map(([, path]) => path);
    assert.ok(named.length > 2);
    for (const path of named) assert.ok(existsSync(join(ROOT, path)), path);
  });
});
