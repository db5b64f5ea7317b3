// Pages end after so many bytes, too: signals, schedules, calls and logs may be large.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { cli } from "../support/js/cli.mjs";
import { Server } from "../support/js/server.mjs";
import { until } from "../support/js/wait.mjs";

const BIG = "x".repeat(700_000);
const PAGE = 4 << 20;
const LOGS = 700;

describe("pages of lists with payloads", () => {
  let server;
  let run;
  before(async () => {
    server = new Server({ settings: { "engine.processes": 1 } });
    await server.start();
    await server.publish("large", `module.exports = async (input) => {
      for (let i = 0; i < ${LOGS}; i++) console.log(i + " " + "y".repeat(8_000));
      for (let i = 0; i < 12; i++) await services.echo.echo(input);
      return (await waitForSignal("end")).length;
    };`);
    run = await server.submit("large", BIG);
    await until("the run to wait for its signal", async () => (await server.get(`/runs/${run}/stack?from=13`)).stack.length === 1);
  });
  after(() => server.destroy());

  /** Every page's items; each page but for one item is at most about PAGE long. */
  async function all(path, name, next) {
    const items = [];
    let pages = 0;
    for (let query = "";;) {
      const answer = await server.request("GET", `${path}?limit=1000${query}`);
      assert.equal(answer.status, 200, answer.text);
      const page = answer.json();
      const size = answer.text.length;
      assert.ok(page[name].length <= 1 || size <= PAGE + 5_000, `${size} bytes in a page of ${page[name].length}`);
      items.push(...page[name]);
      const more = next(page);
      if (more === undefined) return { items, pages };
      query = more;
      if (++pages > 100) throw new Error("there is no end of pages");
    }
  }

  it("logs", async () => {
    const next = (page) => (page.logs.length ? `&after=${page.next_after}` : undefined);
    const { items, pages } = await all(`/runs/${run}/logs`, "logs", next);
    assert.deepEqual(items.map((one) => one.n), Array.from({ length: LOGS }, (_, i) => i + 1));
    assert.ok(pages >= 2);
    const shown = await cli(server, ["logs", String(run)]);
    assert.equal(shown.stdout.trim().split("\n").length, LOGS);
  });
  it("calls", async () => {
    const next = (page) => (page.next_from === null ? undefined : `&from=${page.next_from}`);
    const { items, pages } = await all(`/runs/${run}/stack`, "stack", next);
    assert.deepEqual(items.map((one) => one.seq), Array.from({ length: 14 }, (_, i) => i));
    assert.ok(pages >= 4);
    const shown = (await cli(server, ["runs", "show", String(run), "--calls", "10"])).stdout;
    assert.equal(shown.match(/echo\.echo/g).length, 9, shown);  // the tenth waits for the signal
  });
  it("signals", async () => {
    for (let i = 0; i < 8; i++) {
      assert.equal((await server.request("POST", `/runs/${run}/signals/other`, { json: BIG + i })).status, 202);
    }
    const next = (page) => (page.signals.length ? `&after=${page.next_after}` : undefined);
    const { items, pages } = await all(`/runs/${run}/signals`, "signals", next);
    assert.deepEqual(items.map((one) => one.payload), Array.from({ length: 8 }, (_, i) => BIG + i));
    assert.ok(pages >= 2);
  });
  it("schedules", async () => {
    const names = Array.from({ length: 8 }, (_, i) => `s${i}`);
    for (const name of names) {
      const put = await server.request("PUT", `/schedules/${name}`, { json: { task: "large", cron: "0 0 1 1 *", input: BIG } });
      assert.ok(put.status < 300, put.text);
    }
    const next = (page) => (page.next_cursor === null ? undefined : `&cursor=${page.next_cursor}`);
    const { items, pages } = await all("/schedules", "schedules", next);
    assert.deepEqual(items.map((one) => one.name), names);
    assert.ok(pages >= 1);
    const table = (await cli(server, ["schedules", "list"])).stdout;
    for (const name of names) assert.match(table, new RegExp(name));
    const json = (await cli(server, ["--json", "schedules", "list"])).json();
    assert.deepEqual(json.schedules.map((one) => one.name), names);
  });
});
