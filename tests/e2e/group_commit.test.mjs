// What is done at one moment shares a transaction and its flush: counted in SQLite's write-ahead log, whose frames say where
// a transaction ends.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { it } from "node:test";
import { Server } from "../support/js/server.mjs";

const HEADER = 32;
const FRAME_HEADER = 24;

/** Transactions in a log: frames of the log's current salts whose "size after commit" is not 0. */
function transactionsIn(path) {
  const log = readFileSync(path);
  const pageSize = log.readUInt32BE(8);
  const salts = log.subarray(16, 24);
  let count = 0;
  for (let at = HEADER; at + FRAME_HEADER + pageSize <= log.length; at += FRAME_HEADER + pageSize) {
    if (!log.subarray(at + 8, at + 16).equals(salts)) break;
    if (log.readUInt32BE(at + 4) !== 0) count += 1;
  }
  return count;
}

it("a thousand calls at once take far fewer than a thousand flushes", { timeout: 60_000 }, async () => {
  const server = new Server({ store: "sqlite", settings: { "store.sqlite.wal_checkpoint_pages": 20_000 } });
  try {
    await server.start();
    await server.publish("fan", "module.exports = async () => (await Promise.all(Array.from({ length: 1000 }, (_, i) => services.echo.echo(i)))).length;");
    const before = transactionsIn(`${server.databasePath}-wal`);
    assert.equal((await server.complete("fan", {})).result, 1000);
    await server.kill9();
    const made = transactionsIn(`${server.databasePath}-wal`) - before;
    assert.ok(made > 0 && made < 500, `${made} transactions`);
    await server.start();
    await server.check();
  } finally {
    await server.destroy();
  }
});
