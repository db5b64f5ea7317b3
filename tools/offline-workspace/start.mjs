#!/usr/bin/env node
// Command line of the offline workspace; see README.md. Prints one line of JSON on stdout when it is ready, nothing else.
import { existsSync, fstatSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const USAGE = `usage: node start.mjs --dir DIR [--port 0] [--domains N] [--users N] [--messages N | --messages-per-user N]
                      [--no-mailbox N] [--ledger FILE] [--scopes "SCOPE SCOPE"]

  --dir DIR              where the service account's key is written (DIR/service-account.json)
  --port N               port on 127.0.0.1; 0 (default) takes a free one
  --domains, --users, --messages    totals; default 3, 15, 90
  --messages-per-user N  every mailbox holds N messages, instead of --messages in all
  --no-mailbox N         the last N users have no mailbox: Gmail answers "Mail service not enabled"
  --ledger FILE          append one JSON line per API request, before it is answered
  --scopes LIST          the scopes authorised for the service account, instead of all of Directory and Gmail

Stops on SIGTERM, on SIGINT, when its standard input (a pipe) closes, and when its parent process is gone.
`;

function fail(message) {
  process.stderr.write(`offline-workspace: ${message}\n`);
  process.exit(2);
}

function readNumber(values, name) {
  const text = values[name];
  if (text === undefined) return undefined;
  if (!/^\d{1,9}$/.test(text)) fail(`--${name} must be a whole number, not "${text}"`);
  return Number(text);
}

function readOptions() {
  const names = ["dir", "port", "domains", "users", "messages", "messages-per-user", "no-mailbox", "ledger", "scopes"];
  const options = Object.fromEntries(names.map((name) => [name, { type: "string" }]));
  let values;
  try {
    ({ values } = parseArgs({ options: { ...options, help: { type: "boolean", short: "h" } } }));
  } catch (error) {
    fail(`${error.message}\n${USAGE}`);
  }
  if (values.help) {
    process.stdout.write(USAGE);
    process.exit(0);
  }
  if (!values.dir) fail(`--dir is required\n${USAGE}`);
  const read = {
    dir: resolve(values.dir),
    port: readNumber(values, "port"),
    domains: readNumber(values, "domains"),
    users: readNumber(values, "users"),
    messages: readNumber(values, "messages"),
    messagesPerUser: readNumber(values, "messages-per-user"),
    noMailbox: readNumber(values, "no-mailbox"),
    ledger: values.ledger && resolve(values.ledger),
    scopes: values.scopes?.split(/[ ,]+/).filter(Boolean),
  };
  return Object.fromEntries(Object.entries(read).filter(([, value]) => value !== undefined));
}

/** Calls `stop` when whoever started us is gone, so that we never outlive a test or a script that was killed. */
function followParent(stop) {
  const stdin = fstatSync(0);
  if (stdin.isFIFO() || stdin.isSocket()) {
    process.stdin.on("end", stop).on("close", stop).on("error", stop).resume();
    return;
  }
  // A shell gives a background command /dev/null, which is at its end from the first; so we watch the parent instead.
  const parent = process.ppid;
  setInterval(() => process.ppid !== parent && stop(), 500).unref();
}

async function main() {
  const options = readOptions();
  const here = fileURLToPath(new URL(".", import.meta.url));
  if (!existsSync(resolve(here, "node_modules/emulate/package.json"))) {
    fail(`the emulator is not installed; run: npm ci --prefix ${here}`);
  }
  // The emulator logs to the console when DEBUG is set; stdout is for our one line.
  console.log = console.error;
  const { startWorkspace } = await import("./lib/workspace.mjs");
  let running;
  let stopping = false;
  const stop = () => {
    if (stopping) return;
    stopping = true;
    // Nothing here is worth waiting long for; a client that holds on must not keep us alive.
    setTimeout(() => process.exit(0), 2000).unref();
    Promise.resolve(running?.close()).then(
      () => process.exit(0),
      () => process.exit(1),
    );
  };
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
  process.on("SIGHUP", stop);
  followParent(stop);
  running = await startWorkspace(options);
  if (stopping) process.exit(0);
  const { port, endpoint, keyFile, adminEmail } = running;
  process.stdout.write(JSON.stringify({ port, endpoint, keyFile, adminEmail }) + "\n");
}

main().catch((error) => fail(error.code === "EADDRINUSE" ? `port in use: ${error.message}` : error.message));
