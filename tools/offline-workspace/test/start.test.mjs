import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { makeWorkspace } from "../lib/seed.mjs";
import { createClient, openWorkspace, SCOPES } from "./helpers.mjs";

const START = fileURLToPath(new URL("../start.mjs", import.meta.url));

async function firstLine(stream) {
  let text = "";
  for await (const chunk of stream) {
    text += chunk;
    if (text.includes("\n")) return text;
  }
  return text;
}

describe("start.mjs", () => {
  const dir = mkdtempSync(join(tmpdir(), "offline-start-"));
  const children = [];
  after(() => {
    // A test that failed half-way has left its child running, and the test runner would wait for it.
    for (const child of children) child.kill("SIGKILL");
    rmSync(dir, { recursive: true, force: true });
  });
  const start = (args, stdin = "pipe") => {
    const env = { ...process.env, DEBUG: "1" };
    const child = spawn(process.execPath, [START, ...args], { stdio: [stdin, "pipe", "pipe"], env });
    children.push(child);
    return child;
  };

  it("prints one line, works, and stops when its stdin closes", async () => {
    const child = start(["--dir", dir]);
    const ready = JSON.parse(await firstLine(child.stdout));
    assert.deepEqual(Object.keys(ready), ["port", "endpoint", "keyFile", "adminEmail"]);
    assert.equal(ready.endpoint, `http://127.0.0.1:${ready.port}/_h/{host}`);
    assert.equal(statSync(ready.keyFile).mode & 0o777, 0o600);
    const client = createClient(ready.endpoint, JSON.parse(readFileSync(ready.keyFile, "utf8")));
    const token = await client.token(ready.adminEmail, SCOPES.domains);
    assert.equal((await client.admin(token, "/customer/my_customer/domains")).status, 200);
    child.stdin.end();
    assert.deepEqual(await once(child, "exit"), [0, null]);
  });

  it("uses the key that is there, and stops on SIGTERM", async () => {
    const key = readFileSync(join(dir, "service-account.json"), "utf8");
    const child = start(["--dir", dir], "ignore");
    await firstLine(child.stdout);
    assert.equal(readFileSync(join(dir, "service-account.json"), "utf8"), key);
    child.kill("SIGTERM");
    assert.deepEqual(await once(child, "exit"), [0, null]);
  });

  it("does not outlive a parent that is killed, with no pipe between them", async () => {
    const script = `
      const { spawn } = require("node:child_process");
      const child = spawn(process.execPath, ${JSON.stringify([START, "--dir", dir])}, { stdio: ["ignore", "pipe", "inherit"] });
      child.stdout.once("data", () => process.kill(process.pid, "SIGKILL"));
    `;
    const parent = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "ignore", "pipe"] });
    await once(parent, "exit");
    // The workspace inherited the other end of this pipe; it ends when the last holder is gone.
    parent.stderr.resume();
    await once(parent.stderr, "end");
  });

  it("explains wrong arguments", async () => {
    for (const [args, text] of [
      [[], /--dir is required/],
      [["--dir", dir, "--users", "many"], /--users must be a whole number, not "many"/],
      [["--dir", dir, "--domains", "3", "--users", "2"], /users must be a whole number of at least 3/],
      [["--dir", dir, "--nonsense"], /nonsense/],
    ]) {
      const child = start(args, "ignore");
      assert.match(await firstLine(child.stderr), text);
      assert.deepEqual(await once(child, "exit"), [2, null]);
    }
  });
});

describe("binding", () => {
  it("listens on 127.0.0.1 only, front and emulator", async (test) => {
    const workspace = await openWorkspace({ users: 3, messages: 0 });
    test.after(() => workspace.close());
    for (const port of [workspace.port, workspace.emulatorPort]) {
      const connect = (host) =>
        new Promise((resolve) => {
          const socket = net
            .connect(port, host, () => resolve("connected"))
            .on("error", (error) => resolve(error.code));
          socket.on("close", () => {}).on("connect", () => socket.destroy());
        });
      assert.equal(await connect("127.0.0.1"), "connected");
      // 127.0.0.2 and ::1 reach a socket that is bound to every address, and no other.
      assert.equal(await connect("127.0.0.2"), "ECONNREFUSED");
      assert.notEqual(await connect("::1"), "connected");
    }
  });

  it("runs twice in one process", async (test) => {
    const two = await Promise.all([openWorkspace({ users: 3, messages: 0 }), openWorkspace({ users: 3, messages: 0 })]);
    test.after(() => Promise.all(two.map(({ close }) => close())));
    assert.equal(new Set(two.flatMap(({ port, emulatorPort }) => [port, emulatorPort])).size, 4);
  });
});

describe("seed", () => {
  it("is the same every time", () => {
    assert.deepEqual(makeWorkspace(), makeWorkspace());
  });

  it("has the sizes asked for", () => {
    const standard = makeWorkspace();
    assert.deepEqual([standard.domains.length, standard.users.length], [3, 15]);
    assert.equal(
      standard.mailboxSizes.reduce((a, b) => a + b),
      90,
    );
    assert.equal(standard.mailboxSizes.filter((size) => size === 0).length, 1);
    const large = makeWorkspace({ domains: 7, users: 98, messagesPerUser: 300 });
    assert.equal(large.users.length, 98);
    assert.deepEqual(new Set(large.mailboxSizes), new Set([300]));
    assert.equal(new Set(large.users.map(({ email }) => email)).size, 98);
    const ids = large.messages.map(({ id }) => id);
    assert.equal(new Set(ids).size, ids.length);
  });

  it("stays in addresses that cannot exist", () => {
    for (const { from, to } of makeWorkspace().messages) {
      for (const [, host] of `${from} ${to}`.matchAll(/@([\w.-]+)/g)) assert.match(host, /\.example$/);
    }
  });
});
