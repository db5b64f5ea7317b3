// What the rig does to the world. Each kind is injected by a function that ends when the fault is over; `world.idle` ends
// early when the world is to be healed, so none of them needs to be interrupted.
import { setTimeout as pause } from "node:timers/promises";
import { eventually } from "./base.mjs";
import { APPLICATION } from "./database.mjs";

export const LEASE_MS = 2_000;
export const SWEEP_MS = 200;
const BY_HAND = 16;
const BY_HAND_MS = [1, 15];  // until the node is stopped in the middle of it

// Every point that the mix can reach, and about how often a busy node passes it: rare ones are armed for their first hits.
export const CRASH_POINTS = {
  "submit.before_commit": 60, "submit.after_commit": 60, "claim.after_commit": 6, "suspend.before_commit": 200,
  "suspend.after_commit": 200, "complete.before_commit": 40, "complete.after_commit": 40, "call.after_started": 200,
  "call.after_send": 200, "call.before_record": 200, "call.after_record": 200, "resume.after_commit": 200,
  "release.before_commit": 2, "lease.before_renew": 4, "sweep.after_select": 20, "chain.before_send": 300, "replay.midway": 20,
  "runner.before_reply": 200, "runner.after_fork": 1, "drain.before_release": 1, "migrate.midway": 1,
};
// What a node says to PostgreSQL: the answer of each can be lost after its commit.
export const TRANSITIONS = [
  "submit_v1", "claim_v1", "claim_next_v1", "commit_slice_v1", "record_outcome_v1", "extend_v1", "release_v1", "due_v1", "slice_lost_v1",
];
// Points that are passed only once in the life of a database, at the rig's own start.
export const POINTS_AT_FIRST_START = ["migrate.midway"];

/** What a node is told to do at a crash point in its next life: "" or a SEQUENTIAL_FAULTS. */
export function drawPoint(random, fired) {
  const names = Object.keys(CRASH_POINTS).filter((name) => !POINTS_AT_FIRST_START.includes(name));
  const least = Math.min(...names.map((name) => fired.get(name)));
  const name = random.chance(0.7) ? random.pick(names.filter((one) => fired.get(one) <= least)) : random.pick(names);
  const nth = 1 + Math.floor(random.next() ** 3 * CRASH_POINTS[name]);
  const action = random.weighted([["kill9", 8], ["stop", 2], [`delay:${random.between(5, 60)}`, 1]]);
  if (action === "kill9") return `${name}=kill9@${nth}`;
  return action === "stop" ? `${name}=stop@${nth}` : `${name}=${action}@${nth}+`;
}

/** Settings of a node's next life. */
export function drawSettings(random, { postgres, chainUrl }) {
  const chain = random.weighted([["self", 55], ["proxy", 33], ["off", 12]]);
  const settings = {
    "engine.evict_always": random.chance(0.25), "engine.processes": random.between(1, 2),
    "engine.runs_per_isolate": random.pick([1, 8, 64]), "engine.warm_runs_max": random.pick([3, 50, 20_000]),
    "server.max_in_flight": random.pick([3, 64, 1_024]), "server.drain_ms": random.pick([300, 2_000, 5_000]),
    "log.level": random.pick(["info", "debug"]), "chain.enabled": chain !== "off", "chain.url": chain === "proxy" ? chainUrl : "",
  };
  const own = postgres
    ? { "store.postgres.connections": random.between(2, 6), "store.postgres.prepare": random.chance(0.8),
      "store.postgres.listen": random.chance(0.8) }
    : { "store.sqlite.batch_max": random.pick([1, 16, 512]), "store.sqlite.wal_checkpoint_pages": random.pick([100, 1_000, 4_000]) };
  return { ...settings, ...own };
}

const free = (world) => world.nodes.filter((node) => node.state === "up" && !node.busy);
const beyondLease = (random) => LEASE_MS + random.between(200, 2_000);

/** Runs `act` with a node that is up and in no other fault's hands; false if there is none. */
async function withNode(world, random, act) {
  const nodes = free(world);
  if (nodes.length === 0) return false;
  const node = random.pick(nodes);
  node.busy = true;
  try {
    await act(node);
  } finally {
    node.busy = false;
  }
  return true;
}

async function killNode(world, random) {
  return withNode(world, random, async (node) => {
    world.expectProgress("kill -9 of a node", [node]);
    await node.kill();
    await world.idle(random.between(0, 1_500));
    await world.bring(node, { arm: random.chance(0.75) });
  });
}

async function restartNode(world, random) {
  return withNode(world, random, async (node) => {
    world.expectProgress("SIGTERM and restart", [node]);
    await losingAnswers(world, random, node, "release_v1", () => node.stop());
    await world.idle(random.between(0, 300));
    await world.bring(node, { arm: random.chance(0.75) });
  });
}

/** Now and then, answers to what a node says on the way out do not reach it. */
async function losingAnswers(world, random, node, statement, act) {
  if (!node.proxy || node.proxyBusy || random.chance(0.6)) return act();
  node.proxyBusy = true;
  const cut = node.proxy.at(statement, "answer", { times: 2 });
  try {
    await act();
  } finally {
    countLost(world, cut);
    node.proxy.heal();
    node.proxyBusy = false;
  }
  return undefined;
}

async function rollNodes(world, random) {
  const nodes = free(world);
  if (nodes.length < world.nodes.length) return false;
  for (const node of nodes) node.busy = true;
  try {
    for (const node of nodes) {
      if (node.alive) await node.stop();
      await world.bring(node, { arm: false });
    }
  } finally {
    for (const node of nodes) node.busy = false;
  }
  return true;
}

async function freezeNode(world, random) {
  return withNode(world, random, async (node) => {
    const long = random.chance(0.6);
    world.expectProgress(long ? "SIGSTOP past the lease" : "SIGSTOP within the lease", [node]);
    if (long && random.chance(0.8)) await workByHand(world, random, node);
    node.freeze();
    await world.idle(long ? beyondLease(random) : random.between(20, LEASE_MS * 0.8));
    world.thawed(node);
  });
}

/** So that it is told of work which it loses meanwhile: that of its own hints is answered before it is done. */
async function workByHand(world, random, node) {
  for (let i = 0; i < BY_HAND; i++) world.spawn(world.chain.byHand(node));
  await pause(random.between(...BY_HAND_MS));
}

/** A node that stopped itself at a crash point. */
export async function thawLater(world, random, node) {
  await eventually(world.clock, 5_000, () => world.isStopped(node) || !node.alive);
  await world.idle(random.chance(0.5) ? beyondLease(random) : random.between(50, 1_000));
  if (node.alive || world.isStopped(node)) world.thawed(node);
}

async function killEngine(world, random) {
  const nodes = free(world).filter((node) => node.lookAtEngines().length > 0);
  if (nodes.length === 0) return false;
  const node = random.pick(nodes);
  world.expectProgress("kill -9 of an engine", [node]);
  for (const { pid } of random.chance(0.3) ? node.engines : [random.pick(node.engines)]) world.signal(pid, "SIGKILL");
  return true;
}

async function freezeEngine(world, random) {
  const nodes = free(world).filter((node) => node.lookAtEngines().length > 0);
  if (nodes.length === 0) return false;
  const { pid } = random.pick(random.pick(nodes).engines);
  world.signal(pid, "SIGSTOP");
  await world.idle(random.between(50, 1_500));
  world.signal(pid, "SIGCONT");
  return true;
}

async function misbehavingSink(world, random) {
  if (world.sink.mood.kind) return false;
  world.sink.mood = { kind: random.pick(["errors", "late", "cut", "hang"]), share: random.pick([0.1, 0.5, 1]) };
  await world.idle(random.between(300, 4_000));
  world.sink.mood = { kind: undefined, share: 0 };
  return true;
}

async function badChain(world, random) {
  if (world.chain.mood || !world.nodes.some((node) => node.url && node.settings["chain.url"])) return false;
  world.chain.mood = random.pick(["drop", "double", "delay", "reorder"]);
  await world.idle(random.between(500, 4_000));
  world.chain.mood = undefined;
  return true;
}

async function crashDatabase(world, random) {
  return world.withDatabaseDown(async () => {
    world.crashes.push(Date.now());
    await world.cluster.stop("immediate");
    await world.idle(random.chance(0.7) ? random.between(0, 300) : random.between(300, 4_000));
    await world.cluster.start();
    world.expectProgress("PostgreSQL stopped at once, and started", world.nodes);
  });
}

async function terminateBackends(world, random) {
  if (world.databaseDown) return false;
  const some = random.chance(0.5) ? "ORDER BY random() LIMIT 1" : "";
  world.expectProgress("PostgreSQL backends terminated", world.nodes);
  // The database may go away under this very question.
  await world.eyes.change(`SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity
    WHERE application_name LIKE '${APPLICATION}%' ${some}) x`).catch(() => {});
  return true;
}

/** Somebody holds the rows of open runs, as a person with psql might. */
async function lockRows(world, random) {
  if (world.databaseDown) return false;
  const seconds = random.between(2, 25) / 10;
  await world.eyes.change(`BEGIN; SELECT id FROM stack_runs WHERE ended_at IS NULL ORDER BY random()
    LIMIT ${random.between(1, 20)} FOR UPDATE; SELECT pg_sleep(${seconds}); COMMIT`).catch(() => {});
  return true;
}

function withProxy(act) {
  return async (world, random) => {
    const nodes = world.nodes.filter((node) => node.proxy && !node.proxyBusy);
    if (nodes.length === 0) return false;
    const node = random.pick(nodes);
    node.proxyBusy = true;
    try {
      await act(world, random, node);
    } finally {
      node.proxyBusy = false;
    }
    return true;
  };
}

/** Statements break before they are sent, in the middle of their bytes, or after their commit, so that the answer is lost. */
const cutConnections = withProxy(async (world, random, node) => {
  const { proxy } = node;
  world.expectProgress("connections cut", [node]);
  if (random.chance(0.15)) {
    if (random.chance(0.5)) proxy.at("LISTEN", "request");  // also when it comes back to listen for news
    proxy.cutAll();
    await world.idle(random.between(50, 1_500));
    return proxy.heal();
  }
  const cuts = Array.from({ length: random.between(1, 4) }, () => {
    const statement = random.chance(0.3) ? "" : drawTransition(world, random);
    const when = random.weighted([["answer", 6], ["request", 2], ["bytes", 3]]);
    const bytes = { bytes: 1 + Math.floor(random.next() ** 3 * 2_000), way: random.pick(["toServer", "toClient"]) };
    return proxy.at(statement, when, { times: random.between(1, 2), skip: random.between(0, 5), ...bytes });
  });
  await world.idle(random.between(200, 2_000));
  for (const cut of cuts) countLost(world, cut);
  proxy.heal();
  return undefined;
});

/** Rather one whose answer was rarely lost. */
function drawTransition(world, random) {
  const lost = (name) => world.counts.branches.get(lostAnswerOf(name));
  const least = Math.min(...TRANSITIONS.map(lost));
  return random.chance(0.5) ? random.pick(TRANSITIONS.filter((name) => lost(name) <= least + 1)) : random.pick(TRANSITIONS);
}
export const lostAnswerOf = (name) => `an answer lost after the commit of ${name}`;

function countLost(world, { text, when, hits }) {
  if (when === "answer" || when === "answer-hangs") world.branch(lostAnswerOf(text || "any statement"), hits);
}

/** One statement, or its answer, goes nowhere, and the connection stays open: the node must give up by itself. */
const hang = withProxy(async (world, random, node) => {
  const cut = node.proxy.at(drawTransition(world, random), random.pick(["hang", "answer-hangs"]), { skip: random.between(0, 3) });
  await world.idle(random.between(500, 3_000));
  countLost(world, cut);
  node.proxy.heal();
  world.expectProgress("a statement that hangs", [node]);
});

const blackHole = withProxy(async (world, random, node) => {
  node.proxy.blackHole();
  await world.idle(random.chance(0.5) ? random.between(100, 1_500) : beyondLease(random));
  node.proxy.heal();
  world.expectProgress("connections in a black hole", [node]);
});

const refusal = withProxy(async (world, random, node) => {
  node.proxy.refuse();
  if (random.chance(0.7)) node.proxy.cutAll();
  await world.idle(random.between(100, 3_000));
  node.proxy.heal();
  world.expectProgress("connections refused", [node]);
});

/** Up to a stall: what is sent during it arrives when the lease it was sent under is over. */
const latency = withProxy(async (world, random, node) => {
  const ms = random.pick([5, 30, 150, 500, beyondLease(random)]);
  node.proxy.latencyMs = { toServer: random.chance(0.7) ? ms : 0, toClient: random.chance(0.7) ? ms : 0 };
  await world.idle(random.between(300, ms > 1_000 ? 1_000 : 4_000));
  node.proxy.heal();
  await pause(ms);  // until what is under way has arrived
});

/** kind → {weight, stores?, inject}. `stores` says where it applies; everywhere if it is not there. */
export const FAULTS = {
  "node killed": { weight: 5, inject: killNode },
  "node restarted": { weight: 7, inject: restartNode },
  "rolling restart": { weight: 3, store: "postgres", inject: rollNodes },
  "node frozen": { weight: 3, inject: freezeNode },
  "engine killed": { weight: 4, inject: killEngine },
  "engine frozen": { weight: 1, inject: freezeEngine },
  "sink misbehaves": { weight: 4, inject: misbehavingSink },
  "chain misbehaves": { weight: 4, inject: badChain },
  "database crashed": { weight: 1, store: "postgres", inject: crashDatabase },
  "backends terminated": { weight: 3, store: "postgres", inject: terminateBackends },
  "rows locked": { weight: 2, store: "postgres", inject: lockRows },
  "connections cut": { weight: 5, store: "postgres", inject: cutConnections },
  "black hole": { weight: 3, store: "postgres", inject: blackHole },
  "statement hangs": { weight: 2, store: "postgres", inject: hang },
  "connections refused": { weight: 2, store: "postgres", inject: refusal },
  "latency": { weight: 2, store: "postgres", inject: latency },
};
export const faultsOf = (store) => Object.keys(FAULTS).filter((kind) => !FAULTS[kind].store || FAULTS[kind].store === store);

/** Injects faults at random moments until the world is healed. Each time another part of the kinds takes part. */
export async function injectFaults(world, random, { kinds, meanMs = 700, atOnce = 3 }) {
  const chosen = kinds.filter((kind) => world.counts.faults.get(kind) === 0 || random.chance(0.65));
  const active = new Set();
  while (!world.healing) {
    await world.idle(random.spaced(meanMs));
    if (world.healing || active.size >= atOnce || chosen.length === 0) continue;
    const kind = random.weighted(chosen.map((name) => [name, FAULTS[name].weight]));
    const task = (async () => {
      const began = Date.now();
      const done = await FAULTS[kind].inject(world, random);
      if (done === false) return;
      world.counts.faults.add(kind);
      world.trace({ fault: kind, began, ms: Date.now() - began });
    })();
    const watched = task.catch((error) => world.broken(error)).finally(() => active.delete(watched));
    active.add(watched);
    await pause(0);
  }
  await Promise.all(active);
}
