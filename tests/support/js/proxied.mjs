// Nodes on one PostgreSQL, some of them behind a fault proxy of their own, and the tasks that their tests run.
import assert from "node:assert/strict";
import { openFaultProxy } from "./fault_proxy.mjs";
import { sharedCluster } from "./postgres.mjs";
import { crashSettings, Server } from "./server.mjs";
import { openSink, sinkTask } from "./sink.mjs";
import { removeDir, tempDir } from "./temp.mjs";

/** Calls the sink `input.calls` times, one after another: `name-1`, `name-2`… */
export const SERIAL = sinkTask(`
  const labels = [];
  for (let i = 1; i <= input.calls; i++) labels.push((await sink(input.name + "-" + i)).label);
  return labels;`);
/** The same at the same time. */
export const PARALLEL = sinkTask(`
  const names = Array.from({ length: input.calls }, (_, i) => input.name + "-" + (i + 1));
  return (await Promise.all(names.map((name) => sink(name)))).map((answer) => answer.label);`);
export const labels = (name, calls) => Array.from({ length: calls }, (_, i) => `${name}-${i + 1}`);

const isAlive = (node) => node.child && node.child.exitCode === null && node.child.signalCode === null;

/**
 * Starts nodes with the tasks "serial" and "parallel", calls `use({nodes, proxies, sink, cluster, database})`, and checks the
 * invariants of what they leave.
 * @param {{proxied: boolean[], settings?: object | ((node: number) => object), arrivalsMax?: number, cluster?: object,
 *   tcp?: boolean, allAcknowledged?: boolean}} options `proxied`: for each node, whether it has a proxy; `proxies[i]` is that of node i, whose connections
 *   have the application name node-i. `tcp`: the proxies reach the cluster at its port, not at its socket.
 *   `allAcknowledged`: every run that there is was acknowledged to a client
 */
export async function withProxied({ proxied, settings = {}, arrivalsMax = 1, cluster, tcp = false, allAcknowledged = false }, use) {
  cluster ??= await sharedCluster();
  const database = cluster.createDatabase();
  const keys = tempDir("sequential-keys");
  const sink = await openSink();
  const nodes = [];
  const proxies = [];
  try {
    for (const [i, behind] of proxied.entries()) {
      const proxy = behind ? await openFaultProxy(cluster) : undefined;
      proxies.push(proxy);
      proxy?.pointTo(cluster, { tcp });
      const url = `${proxy ? proxy.url(database) : cluster.url(database)}&application_name=node-${i}`;
      const more = typeof settings === "function" ? settings(i) : settings;
      const node = new Server({
        store: "postgres", beside: { cluster, database, dir: keys }, settings: crashSettings(sink, { "store.url": url, ...more }),
      });
      nodes.push(node);
      await node.start();
    }
    await nodes[0].publish("serial", SERIAL);
    await nodes[0].publish("parallel", PARALLEL);
    await use({ nodes, proxies, sink, cluster, database });
    for (const proxy of proxies) proxy?.heal();
    const [first, ...others] = nodes.filter(isAlive);
    for (const node of others) await node.stop();
    const acknowledged = new Set(nodes.flatMap((node) => [...node.acknowledged.keys()]));
    const samples = nodes.flatMap((node) => node.samples);
    const { runs } = await first.check({ sink, arrivalsMax, acknowledged: [...acknowledged], samples });
    if (allAcknowledged) assert.equal(runs.length, acknowledged.size, "a run that nobody was told of");
  } finally {
    for (const node of nodes.reverse()) await node.destroy();
    for (const proxy of proxies) await proxy?.close();
    await sink.close();
    removeDir(keys);
  }
}
