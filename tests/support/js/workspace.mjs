// The offline Google Workspace (tools/offline-workspace) as a child process, and a server that is connected to it.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { cleanEnv } from "./server.mjs";
import { startChild } from "./children.mjs";
import { removeDir, tempDir } from "./temp.mjs";
import { until, within } from "./wait.mjs";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const START = join(ROOT, "tools/offline-workspace/start.mjs");

export const SEARCH_CODE = readFileSync(join(ROOT, "taskcode/endpoints/comprehensive-gmail-search.js"), "utf8");
export const endpointCode = (name) => readFileSync(join(ROOT, `taskcode/endpoints/${name}.js`), "utf8");

/** Starts it with the given sizes; `ledger()` answers the requests it has answered so far. */
export async function openWorkspace({ domains = 3, users = 12, messages = 60 } = {}) {
  assert.ok(existsSync(join(ROOT, "tools/offline-workspace/node_modules/emulate/package.json")),
    "the emulator is needed: npm ci --prefix tools/offline-workspace");
  const dir = tempDir("sequential-workspace");
  const ledger = join(dir, "ledger.jsonl");
  const sizes = ["--domains", domains, "--users", users, "--messages", messages].map(String);
  // Its standard input is a pipe of ours: it ends with us, whatever happens.
  const child = startChild(process.execPath, [START, "--dir", dir, "--ledger", ledger, ...sizes], { env: cleanEnv(), stdio: ["pipe", "pipe", "inherit"] });
  let stdout = "";
  child.stdout.setEncoding("utf8").on("data", (text) => { stdout += text; });
  let gone;
  child.exited.then((how) => { gone = how; });
  const line = await until("the offline workspace to start", () => {
    if (gone) throw new Error(`the offline workspace ended: ${JSON.stringify(gone)}`);
    return stdout.includes("\n") && stdout;
  }, 30_000);
  const ready = JSON.parse(line);
  const url = new URL(ready.endpoint.replace("{host}", "x"));
  return {
    ...ready,
    settings: { "services.gapi.endpoint": ready.endpoint, "services.http.allow_hosts": [url.host] },
    key: readFileSync(ready.keyFile, "utf8"),
    ledger: () => (existsSync(ledger) ? readFileSync(ledger, "utf8") : "").split("\n").filter(Boolean).map((one) => JSON.parse(one)),
    async control(document) {
      const answer = await fetch(new URL("/_control", url), {
        method: "POST", headers: { "content-type": "application/json", connection: "close" }, body: JSON.stringify(document),
      });
      assert.ok(answer.ok, await answer.text());
    },
    async close() {
      child.stdin.end();
      const late = setTimeout(() => child.kill("SIGKILL"), 5_000);
      await within("the offline workspace to stop", 10_000, child.exited);
      clearTimeout(late);
      removeDir(dir);
    },
  };
}

/** Puts the workspace's credentials into a server's keystore and publishes the search. */
export async function connectWorkspace(server, workspace) {
  for (const [key, value] of [["GAPI_KEY", workspace.key], ["GAPI_ADMIN_EMAIL", workspace.adminEmail]]) {
    const put = await server.request("PUT", `/keystore/default/${key}`, { json: { value } });
    assert.equal(put.status, 204, put.text);
  }
  await server.publish("comprehensive-gmail-search", SEARCH_CODE);
}

/** A run's result without what may differ between two runs: the times in executionInfo. */
export function timeless(result) {
  const { startedAt, completedAt, durationMs, ...info } = result.executionInfo;
  assert.ok(startedAt && completedAt && durationMs >= 0);
  return JSON.stringify({ ...result, executionInfo: info });
}
