// The command line of tests/faults/run.
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { randomInt } from "node:crypto";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { FAULTS, faultsOf } from "./faults.mjs";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../../..");
const NAME = "sequential-runner";
const FAULT_POINTS_MARK = "SEQUENTIAL_FAULTS: cannot read";  // only in a build with fault points

export const HELP = `Usage: tests/faults/run [options]

Runs random programs on real nodes while it kills, stops, cuts and restarts them and everything around them; every 60 to 90
seconds it heals all, waits until all is over, and checks every invariant. Exit code 0: no violation; 1: a violation, whose
data and logs are kept; 2: it could not start; 3: no violation, but a run of 10 minutes or more that did not hit everything.

  --minutes N      how long on each store (15; fractions are fine)
  --seed S         repeats the draws of a run; random without it, and printed
  --store STORE    sqlite, postgres or both, one after the other (both)
  --nodes K        nodes on PostgreSQL, 2 to 4 (2); SQLite has one
  --clients N      clients that submit and wait (16)
  --only A,B       only these kinds of faults: ${Object.keys(FAULTS).join(", ")}
  --json FILE      the summary for programs; "-" is standard output, people's lines then go to standard error
  --bin PATH       the sequential-runner to test; without it SEQUENTIAL_BIN, or the newest test build in build/*/bin
  --help           this text

Needed: a build with fault points (cmake --preset test && cmake --build --preset test), node 18 or newer, sqlite3, and for
PostgreSQL its server programs (scripts/setup.sh --test installs all). Ctrl-C heals, checks, cleans up and prints what was
found so far; a second one ends it at once.
`;

export class UsageError extends Error {}

/** The newest build with fault points, or why there is none. */
export function findBinary(given = process.env.SEQUENTIAL_BIN) {
  const make = "make one: cmake --preset test && cmake --build --preset test (in the folder of CMakePresets.json)";
  if (given) {
    const path = resolve(given);
    if (!existsSync(path)) throw new UsageError(`there is no ${path}`);
    if (!readFileSync(path).includes(FAULT_POINTS_MARK)) throw new UsageError(`${path} is built without fault points; ${make}`);
    return path;
  }
  const build = join(ROOT, "build");
  const builds = existsSync(build) ? readdirSync(build) : [];
  const candidates = builds.map((name) => join(build, name, "bin", NAME)).filter((path) => existsSync(path));
  candidates.sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs);
  const found = candidates.find((path) => readFileSync(path).includes(FAULT_POINTS_MARK));
  if (!found) throw new UsageError(`no test build of ${NAME} was found in ${build}; ${make}, or name one with --bin`);
  return found;
}

function number(text, name, low, high, whole = true) {
  const value = Number(text);
  if (!Number.isFinite(value) || value < low || value > high || (whole && !Number.isInteger(value))) {
    throw new UsageError(`--${name} must be a ${whole ? "whole number" : "number"} from ${low} to ${high}; it is ${text}`);
  }
  return value;
}

export function readOptions(args) {
  const text = (name, fallback) => [name, { type: "string", ...(fallback === undefined ? {} : { default: fallback }) }];
  let values;
  try {
    ({ values } = parseArgs({
      args,
      options: Object.fromEntries([
        text("minutes", "15"), text("seed"), text("store", "both"), text("nodes", "2"), text("clients", "16"), text("only"), text("json"),
        text("bin"), ["help", { type: "boolean", short: "h" }],
      ]),
    }));
  } catch (error) {
    throw new UsageError(error.message);
  }
  if (values.help) return { help: true };
  const stores = { sqlite: ["sqlite"], postgres: ["postgres"], both: ["sqlite", "postgres"] }[values.store];
  if (!stores) throw new UsageError(`--store must be sqlite, postgres or both; it is ${values.store}`);
  const kinds = values.only?.split(",").map((kind) => kind.trim()).filter(Boolean);
  const unknown = kinds?.filter((kind) => !FAULTS[kind]) ?? [];
  if (unknown.length > 0) throw new UsageError(`--only: there is no fault "${unknown[0]}"; there are ${Object.keys(FAULTS).join(", ")}`);
  for (const store of stores) {
    if (kinds && !kinds.some((kind) => faultsOf(store).includes(kind))) throw new UsageError(`--only: none of these applies to ${store}`);
  }
  return {
    stores, kinds, json: values.json, binary: findBinary(values.bin),
    seconds: number(values.minutes, "minutes", 0.1, 24 * 60, false) * 60,
    seed: values.seed === undefined ? randomInt(2 ** 32) : number(values.seed, "seed", 0, 2 ** 32 - 1),
    nodes: number(values.nodes, "nodes", 2, 4), clients: number(values.clients, "clients", 1, 200),
  };
}

/** The command that repeats a run. */
export function repeatCommand({ seconds, seed, nodes, clients, kinds }, store) {
  const more = [
    nodes === 2 ? "" : ` --nodes ${nodes}`, clients === 16 ? "" : ` --clients ${clients}`, kinds ? ` --only "${kinds.join(",")}"` : "",
  ];
  return `tests/faults/run --minutes ${Number((seconds / 60).toFixed(2))} --seed ${seed} --store ${store}${more.join("")}`;
}
