// Runs programs: output to a log file, the end of the log in the message of a failure, a deadline for everything.
import { spawn } from "node:child_process";
import { appendFileSync, closeSync, openSync, readFileSync, writeFileSync } from "node:fs";

export const options = { verbose: false };
const SHOWN_LINES = 40;

export function say(text) {
  process.stdout.write(`== ${text}\n`);
}

export function tailOf(path, lines = SHOWN_LINES) {
  return readFileSync(path, "utf8").split("\n").slice(-lines).map((line) => `    ${line.slice(0, 400)}`).join("\n");
}

/** Runs `program` to its end; what it writes is added to the file `log`. */
export async function run(program, args, { log, ms = 60_000, env } = {}) {
  const output = log ? openSync(log, "a") : undefined;
  const stdio = ["ignore", output ?? "pipe", output ?? "pipe"];
  const child = spawn(program, args, { stdio, env: env ?? process.env });
  let text = "";
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (data) => { text += data; });
  const timer = setTimeout(() => child.kill("SIGKILL"), ms);
  const how = await new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve(code ?? signal));
  }).finally(() => clearTimeout(timer));
  if (output !== undefined) closeSync(output);
  if (options.verbose && log) process.stdout.write(`${tailOf(log, 5)}\n`);
  if (how !== 0) {
    throw new Error(`${program} ${args.join(" ").slice(0, 200)}: ended with ${how}\n${log ? tailOf(log) : text}`);
  }
  return text;
}

/** Like run, with a bash script in a file, so that it can be looked at afterwards. */
export async function script(path, lines, { log, ms, wrapper = [] } = {}) {
  writeFileSync(path, `#!/bin/bash\nset -euo pipefail\n${lines.join("\n")}\n`, { mode: 0o755 });
  if (log) appendFileSync(log, `-- ${path}\n`);
  return run(wrapper[0] ?? "bash", [...wrapper.slice(1), ...(wrapper.length ? ["bash"] : []), path], { log, ms });
}

export function quote(text) {
  return `'${String(text).replaceAll("'", "'\\''")}'`;
}

/** An error that waiting longer does not mend. */
export class Hopeless extends Error {}

/** Asks until `probe` gives something true; what it throws counts as no, unless it is Hopeless. */
export async function until(what, probe, ms) {
  const deadline = Date.now() + ms;
  let last = "";
  for (;;) {
    try {
      const found = await probe();
      if (found) return found;
    } catch (error) {
      if (error instanceof Hopeless) throw error;
      last = ` (${error.message})`;
    }
    if (Date.now() > deadline) throw new Error(`waited ${ms / 1000} s in vain for ${what}${last}`);
    await new Promise((resolve) => { setTimeout(resolve, 50); });
  }
}
