// Reads a Dockerfile into stages of steps. Knows the instructions that docker/Dockerfile uses; any other is an error, so
// that nothing is passed over in silence.
import { readFileSync } from "node:fs";
import { DockerfileParser } from "dockerfile-ast";

const KNOWN = new Set(["ARG", "FROM", "RUN", "COPY", "ENV", "WORKDIR", "USER", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT",
  "CMD", "LABEL"]);

export function readDockerfile(path) {
  return parseDockerfile(readFileSync(path, "utf8"), path);
}

/** @returns stages: [{name, from, steps: [{op, text, flags, line}]}], text without flags, continuation lines joined */
export function parseDockerfile(text, path = "Dockerfile") {
  const stages = [];
  for (const instruction of DockerfileParser.parse(text).getInstructions()) {
    const op = instruction.getKeyword();
    const line = instruction.getRange().start.line + 1;
    if (!KNOWN.has(op)) throw new Error(`${path}:${line}: the rehearsal does not know ${op}`);
    const flags = flagsOf(instruction, `${path}:${line}`);
    const rest = joined(instruction.getRawArgumentsContent() ?? "");
    if (op === "FROM") {
      const [from, as, name] = rest.split(/\s+/);
      if (as && as.toUpperCase() !== "AS") throw new Error(`${path}:${line}: FROM ${rest}`);
      stages.push({ from, name: name ?? String(stages.length), steps: [] });
      continue;
    }
    if (stages.length === 0) throw new Error(`${path}:${line}: ${op} before FROM`);
    stages.at(-1).steps.push({ op, text: rest, flags, line });
  }
  if (stages.length === 0) throw new Error(`${path}: no FROM`);
  return stages;
}

/** Joins continuation lines and leaves out the comment lines between them. */
function joined(raw) {
  const lines = raw.split("\n").filter((line, index) => index === 0 || !/^\s*#/.test(line));
  return lines.map((line, index) => (index < lines.length - 1 ? line.replace(/\\\s*$/, "") : line)).join("").trim();
}

const KNOWN_FLAGS = { COPY: ["from"], HEALTHCHECK: ["interval", "timeout", "start-period", "retries"] };

function flagsOf(instruction, where) {
  const flags = {};
  for (const flag of instruction.getFlags?.() ?? []) {
    const known = KNOWN_FLAGS[instruction.getKeyword()] ?? [];
    if (!known.includes(flag.getName())) throw new Error(`${where}: the rehearsal does not know --${flag.getName()}`);
    flags[flag.getName()] = flag.getValue();
  }
  return flags;
}

/** The JSON form as a list of words, or the shell form as the words that run it. */
export function commandWords(text) {
  if (text.startsWith("[")) return JSON.parse(text);
  return ["/bin/sh", "-c", text];
}

/** `A=b C="d e"` as pairs. */
export function keyValues(text) {
  const pairs = [];
  const pattern = /([A-Za-z_][A-Za-z0-9_.-]*)=("([^"]*)"|'([^']*)'|\S*)\s*/gy;
  for (let match; (match = pattern.exec(text));) pairs.push([match[1], match[3] ?? match[4] ?? match[2]]);
  return pairs;
}

/** HEALTHCHECK's flags and command as a compose file's healthcheck. */
export function healthcheckOf(step) {
  if (step.text === "NONE") return undefined;
  const words = commandWords(step.text.replace(/^CMD\s+/, ""));
  const { interval = "30s", timeout = "30s", retries = "3", "start-period": start = "0s" } = step.flags;
  return { test: ["CMD", ...words], interval, timeout, retries: Number(retries), start_period: start };
}
