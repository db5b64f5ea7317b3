// The long randomized fault run: behind tests/faults/run.
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { HELP, readOptions, repeatCommand, UsageError } from "./options.mjs";
import { describeSummary, reporter, verdict } from "./report.mjs";
import { runRig } from "./rig.mjs";

const WORKER = "RIG_WORKER";
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"];
const LONG_SECONDS = 600;  // runs from here on must have hit everything

async function main() {
  const options = readOptions(process.argv.slice(2));
  if (options.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const out = options.json === "-" ? process.stderr : process.stdout;
  // The children's own handlers would end this process at once.
  const stop = new AbortController();
  for (const signal of SIGNALS) {
    process.removeAllListeners(signal);
    process.on(signal, () => {
      if (stop.signal.aborted) process.exit(130);
      out.write("\nstopping: healing and checking once more (again to end at once)\n");
      stop.abort();
    });
  }
  const summaries = [];
  let code = 0;
  for (const store of options.stores) {
    if (stop.signal.aborted) break;
    const report = reporter({ store, seed: options.seed, seconds: options.seconds, out });
    const summary = await runRig({ ...options, store, report, stop: stop.signal });
    report.clear();
    const long = options.seconds >= LONG_SECONDS && !options.kinds;
    const end = verdict(summary, { long, repeat: repeatCommand(options, store) });
    out.write(`${describeSummary(summary)}\n${end.text}`);
    summaries.push({ ...summary, exit_code: end.code });
    code = end.code === 1 ? 1 : code || end.code;
    if (end.code === 1) break;
  }
  if (options.json) {
    const text = `${JSON.stringify({ seed: options.seed, binary: options.binary, exit_code: code, stores: summaries }, null, 2)}\n`;
    if (options.json === "-") process.stdout.write(text);
    else writeFileSync(options.json, text);
  }
  return code;
}

/**
 * The run itself is a process outside the terminal's foreground group: Ctrl-C would else reach the nodes and the database
 * before the rig could heal them.
 */
function supervise() {
  const child = spawn(process.execPath, process.argv.slice(1), {
    detached: true, stdio: ["inherit", "inherit", "inherit", "ipc"], env: { ...process.env, [WORKER]: "1" },
  });
  for (const signal of SIGNALS) {
    process.removeAllListeners(signal);
    process.on(signal, () => child.kill(signal));
  }
  child.on("exit", (code) => process.exit(code ?? 1));
}

if (process.env[WORKER]) {
  delete process.env[WORKER];
  process.once("disconnect", () => process.exit(1));  // nobody is left to see it
  main().then((code) => process.exit(code), (error) => {
    process.stderr.write(error instanceof UsageError ? `${error.message}\n(--help lists the options)\n` : `${error.stack}\n`);
    process.exit(2);
  });
} else {
  supervise();
}
