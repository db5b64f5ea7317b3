// The randomized run: periods of load under faults, each ended by a healing and a check of all invariants.
import { setTimeout as pause } from "node:timers/promises";
import { AwakeClock, fork, Violation } from "./base.mjs";
import { BOUND_MS, Checker, MARGINS, WORK_MS } from "./check.mjs";
import { Clients } from "./clients.mjs";
import { CRASH_POINTS, faultsOf, injectFaults, lostAnswerOf, TRANSITIONS } from "./faults.mjs";
import { Ended, World } from "./world.mjs";

// I13: branches of the recovery that a long run must have taken, by store.
const BRANCHES = {
  both: [
    "a try failed", "a try lost", "a try released", "processed by a hint", "processed by a timer", "processed by the sweep",
    "last resumed warm", "last resumed by a replay", "an outcome that is not known", "a call was sent again under its key",
    "a repeated submission was answered with the run that is there", "a client hung up", "refused with Retry-After", "engine lost",
    "an operator's pause", "an operator's cancel", "a hint was answered not_runnable", "a hint was answered busy",
    "a service used a secret of the keystore", "a token was refused", "a task was refused a secret",
    "a submission without a key was answered", "a submission without a key was not answered, and made a run",
    "a submission without a key was not answered, and made none",
  ],
  sqlite: ["took up a stopped process's work"],
  postgres: [
    "a call taken over by another node", "database out of reach, and back", "a sweep without a database", "leases not renewed in time",
    "a hint was answered fenced", "a start without a database",
    ...TRANSITIONS.filter((name) => name !== "slice_lost_v1").map(lostAnswerOf),
  ],
};

export const branchesOf = (store) => [...BRANCHES.both, ...BRANCHES[store]];

/**
 * Runs for `seconds` of awake time on one store. `report` hears of what happens: {started, tick, checked}. Answers a summary;
 * its `violation` says what was found, and `keep` leaves its data where they are. `sabotage(world)`, for tests of the rig
 * itself, runs once in the first period, which lasts until it has.
 * @param {{binary, store, seconds: number, seed: number, nodes?: number, clients?: number, every?: number[], kinds?: string[],
 *   report?: object, stop?: AbortSignal, sabotage?: Function, keep?: boolean, cluster?: object}} options
 */
export async function runRig({ binary, store, seconds, seed, nodes = 2, clients: count = 16, every = [60, 90], kinds, report = {}, stop,
  sabotage, keep = true, cluster }) {
  const clock = new AwakeClock();
  const world = new World({ binary, store, nodes, seed, clock, cluster });
  const clients = new Clients({ world, random: fork(seed, "clients"), count, tag: `rig-${seed}` });
  world.clients = clients;
  clock.onGap = () => world.thaws.push(Date.now());  // what holds up the rig may have frozen the nodes too
  const checker = new Checker(world, clients, fork(seed, "checks"));
  const run = { world, clients, checker, clock, began: clock.now(), seconds, seed, store };
  const state = { violation: undefined, error: undefined, interrupted: false };
  try {
    await Promise.race([world.failed, periods(run, { kinds: kinds ?? faultsOf(store), every, report, stop, sabotage })]);
    state.interrupted = Boolean(stop?.aborted);
  } catch (error) {
    world.trace({ ended: error.message });
    if (error instanceof Violation) state.violation = error;
    else if (!(error instanceof Ended)) state.error = error;
  }
  if (keep && (state.violation || state.error)) process.env.SEQUENTIAL_TEST_KEEP = "1";  // temp.mjs then leaves directories where they are
  await world.close().catch((error) => { state.error ??= error; });
  clock.close();
  return summarize(run, state);
}

async function periods({ world, clients, checker, clock, began, seconds, seed }, { kinds, every, report, stop, sabotage }) {
  const timing = fork(seed, "periods");
  await world.open();
  clock.lost = 0;  // making a database cluster holds everything up
  report.started?.(world);
  clients.start();
  const ends = began + seconds * 1000;
  for (let period = 1; ; period++) {
    const left = ends - clock.now();
    let length = timing.between(...every) * 1000;
    if (left < length * 1.4) length = Math.max(left, 1_000);  // no last period too short to mean something
    const last = length >= left;
    const checkAt = clock.now() + length;
    world.hurt();
    clients.release();
    const faults = injectFaults(world, fork(seed, `faults ${period}`), { kinds });
    let sabotaged = !sabotage || period > 1;
    if (!sabotaged) world.spawn(Promise.resolve(sabotage(world)).then(() => { sabotaged = true; }));
    while ((clock.now() < checkAt || !sabotaged) && !stop?.aborted && !world.ended) {
      report.tick?.({ elapsed: clock.now() - began });
      await pause(Math.min(250, Math.max(10, checkAt - clock.now())));
    }
    clients.hold();
    await world.heal(faults);
    const line = await checker.check({ last: last || stop?.aborted });
    report.checked?.(line, { elapsed: clock.now() - began });
    if (last || stop?.aborted || world.ended) return;
  }
}

function summarize({ world, clients, checker, clock, began, seconds, seed, store }, { violation, error, interrupted }) {
  const sorted = [...checker.quiet].sort((a, b) => a - b);
  const middle = sorted[Math.floor((sorted.length - 1) / 2)] ?? 0;
  const points = Object.keys(CRASH_POINTS);
  const branches = world.counts.branches;
  const peak = (what) => checker.resources.reduce((most, one) => Math.max(most, one[what]), 0);
  return {
    store, seed, seconds: Math.round((clock.now() - began) / 1000), asked_seconds: seconds, interrupted,
    violation: violation && { invariant: violation.invariant, message: violation.message, detail: violation.detail },
    error: error && (error.stack ?? String(error)),
    directory: world.dir,
    nodes: world.nodes.map((node) => ({ name: node.name, lives: node.lives })),
    faults: world.counts.faults.toJSON(), faults_total: world.counts.faults.total(),
    crash_points: world.counts.points.toJSON(),
    branches: branches.toJSON(),
    not_hit: [
      ...points.filter((name) => world.counts.points.get(name) === 0),
      ...faultsOf(store).filter((kind) => world.counts.faults.get(kind) === 0),
      ...branchesOf(store).filter((name) => branches.get(name) === 0),
    ],
    runs: checker.totals.runs, calls: checker.totals.calls, log_lines: checker.totals.logs,
    sink_requests: world.sink?.total ?? 0, sink_misbehaved: world.sink?.misbehaved ?? 0, hints_through_the_proxy: world.chain?.hints ?? 0,
    doubled_deliveries: checker.totals.doubled, late_deliveries: checker.totals.late,
    clients: clients.numbers, checks: checker.number, hashes_compared: checker.totals.compared, tail_operations: checker.totals.tail,
    quiet_ms: { p50: Math.round(middle), max: Math.round(sorted.at(-1) ?? 0), limit: BOUND_MS + WORK_MS },
    recovery_ms: world.recovery.toJSON(),
    resources: { margins: MARGINS, rss_max: peak("rss"), fds_max: peak("fds"), threads_max: peak("threads") },
    bytes_searched_for_secrets: world.secrets.searched,
    stood_still_ms: Math.round(clock.lost),
  };
}
