// F13 and F51 in short: the randomized rig for 40 s on one store, and the command that runs it for longer, tests/faults/run.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { startChild } from "../support/js/children.mjs";
import { testSeed } from "../support/js/random.mjs";
import { binary, cleanEnv, STORE } from "../support/js/server.mjs";
import { until, within } from "../support/js/wait.mjs";
import { describeSummary, verdict } from "./rig/report.mjs";
import { runRig } from "./rig/rig.mjs";

const RUN = join(dirname(fileURLToPath(import.meta.url)), "run");
const SECONDS = 40;

describe(`the rig on ${STORE}`, () => {
  it("finds every invariant held under random faults", { timeout: 180_000 }, async () => {
    const seed = testSeed();
    const report = { checked: (line) => console.log(line) };
    const summary = await runRig({ binary: binary(), store: STORE, seconds: SECONDS, seed, every: [12, 20], report });
    console.log(describeSummary(summary));
    const repeat = `SEQUENTIAL_TEST_SEED=${seed}, or tests/faults/run --seed ${seed} --store ${STORE}`;
    const { code, text } = verdict(summary, { long: false, repeat });
    assert.equal(code, 0, text);
    // Enough happened to mean something, on a slow machine too.
    assert.ok(summary.runs >= 20 && summary.calls >= 100, `${summary.runs} runs, ${summary.calls} calls`);
    assert.ok(summary.faults_total >= 10, JSON.stringify(summary.faults));
    assert.ok(summary.checks >= 2, `${summary.checks} checks`);
    // Secrets were used and looked for, and some clients had no key.
    assert.ok(summary.branches["a service used a secret of the keystore"] > 0 && summary.bytes_searched_for_secrets > 1 << 20);
    assert.ok(summary.clients.keyless > 0, JSON.stringify(summary.clients));
  });
});

// --- the command ------------------------------------------------------------------------------------------------------

describe("tests/faults/run", () => {
  const env = cleanEnv({ SEQUENTIAL_BIN: process.env.SEQUENTIAL_BIN });
  const run = (...args) => spawnSync(RUN, args, { encoding: "utf8", env, timeout: 80_000 });

  it("says what it takes, and refuses what it does not", () => {
    const help = run("--help");
    assert.equal(help.status, 0);
    assert.match(help.stdout, /--minutes N/);
    for (const [args, words] of [
      [["--minute", "1"], /--minute/], [["--minutes", "0"], /from 0\.1/], [["--store", "mysql"], /sqlite, postgres or both/],
      [["--nodes", "9"], /from 2 to 4/], [["--only", "rain"], /no fault "rain"/], [["--bin", "/nowhere/at/all"], /there is no/],
      [["--bin", process.execPath], /without fault points.*cmake --preset test/],
      [["--store", "sqlite", "--only", "latency"], /none of these applies/],
    ]) {
      const refused = run(...args);
      assert.equal(refused.status, 2, args.join(" "));
      assert.match(refused.stderr, words);
    }
  });

  it("tells programs what it tells people", { timeout: 90_000 }, () => {
    const ran = run("--minutes", "0.1", "--store", STORE, "--seed", "7", "--json", "-");
    assert.equal(ran.status, 0, ran.stderr);
    const told = JSON.parse(ran.stdout);
    assert.equal(told.seed, 7);
    assert.equal(told.stores[0].store, STORE);
    assert.equal(told.stores[0].checks, 1);
    assert.match(ran.stderr, /no violation/);
    assert.match(ran.stderr, /seed 7/);
  });

  it("heals, checks and cleans up when it is interrupted", { timeout: 90_000 }, async () => {
    const child = startChild(RUN, ["--minutes", "5", "--store", STORE], { env, stdio: ["ignore", "pipe", "pipe"] });
    let out = "";
    child.stdout.setEncoding("utf8").on("data", (text) => { out += text; });
    await until("the run to have begun", () => /\d+:\d+\/5:00/.test(out), 30_000);
    const dir = /data and logs in (\S+)/.exec(out)[1];
    assert.ok(existsSync(dir));
    child.kill("SIGINT");
    const { code } = await within("the end", 50_000, child.exited);
    assert.equal(code, 130, out);
    assert.match(out, /check 1: \d+ runs/);
    assert.match(out, /interrupted; no violation until then \(seed \d+\)/);
    assert.ok(!existsSync(dir), `${dir} is left`);
  });
});
