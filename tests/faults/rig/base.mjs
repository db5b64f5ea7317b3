// What every part of the rig uses: violations, streams of randomness, time that stands still while the rig itself is stopped,
// and figures.
import { createHash } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { createRandom } from "../../support/js/random.mjs";

const TICK_MS = 50;
const TICK_MS_MAX = 500;  // a longer gap between two ticks is time in which this process did not run

/** Something that must never be. `invariant` is I1…I13 or P1…P14 of the promises. */
export class Violation extends Error {
  constructor(invariant, what, detail) {
    super(`${invariant}: ${what}`);
    this.invariant = invariant;
    this.detail = detail;
  }
}
export function insist(condition, invariant, what, detail) {
  if (!condition) throw new Violation(invariant, what, detail);
}

/** A stream of randomness of its own for each part, so that one part's draws do not depend on another's timing. */
export function fork(seed, name) {
  const random = createRandom(createHash("sha256").update(`${seed}/${name}`).digest().readUInt32LE(0));
  return {
    ...random,
    /** Waiting time with that mean, of events that know nothing of each other. */
    spaced: (meanMs) => -Math.log(1 - random.next()) * meanMs,
    /** One of [value, weight] pairs. */
    weighted(pairs) {
      let at = random.next() * pairs.reduce((sum, [, weight]) => sum + weight, 0);
      for (const [value, weight] of pairs) {
        at -= weight;
        if (at < 0) return value;
      }
      return pairs.at(-1)[0];
    },
  };
}

export const hashOf = (...parts) => createHash("sha1").update(JSON.stringify(parts)).digest("base64");

/** Milliseconds for which this process was awake: deadlines go by it, so that a machine that stands still breaks no promise. */
export class AwakeClock {
  #awake = 0;
  #last = performance.now();
  #timer = setInterval(() => this.#tick(), TICK_MS);
  lost = 0;
  onGap = () => {};  // called when it has noticed that it stood still

  constructor() {
    this.#timer.unref();
  }
  #tick() {
    const now = performance.now();
    const gap = now - this.#last;
    this.#last = now;
    this.#awake += Math.min(gap, TICK_MS_MAX);
    if (gap <= TICK_MS_MAX) return;
    this.lost += gap - TICK_MS_MAX;
    this.onGap();
  }
  now() {
    this.#tick();
    return this.#awake;
  }
  close() {
    clearInterval(this.#timer);
  }
}

/** Polls until `condition` answers something truthy; undefined after `ms` of awake time. */
export async function eventually(clock, ms, condition, pollMs = 20) {
  const deadline = clock.now() + ms;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (clock.now() > deadline) return undefined;
    await pause(pollMs);
  }
}

/** Counts by name. */
export class Counts {
  #counts = new Map();
  add(name, n = 1) {
    if (n) this.#counts.set(name, (this.#counts.get(name) ?? 0) + n);
  }
  get(name) {
    return this.#counts.get(name) ?? 0;
  }
  total() {
    return [...this.#counts.values()].reduce((sum, n) => sum + n, 0);
  }
  toJSON() {
    return Object.fromEntries([...this.#counts].sort(([a], [b]) => (a < b ? -1 : 1)));
  }
}

/** Durations by name; only so many are kept of each, and the longest. */
export class Durations {
  #kept = new Map();
  add(name, ms) {
    const kept = this.#kept.get(name) ?? { count: 0, max: 0, values: [] };
    this.#kept.set(name, kept);
    kept.count += 1;
    kept.max = Math.max(kept.max, ms);
    if (kept.values.length < 2_000) kept.values.push(ms);
    else kept.values[kept.count % 2_000] = ms;
  }
  of(name) {
    const kept = this.#kept.get(name);
    if (!kept) return undefined;
    const sorted = [...kept.values].sort((a, b) => a - b);
    return { count: kept.count, p50: Math.round(sorted[Math.floor((sorted.length - 1) / 2)]), max: Math.round(kept.max) };
  }
  toJSON() {
    return Object.fromEntries([...this.#kept.keys()].sort().map((name) => [name, this.of(name)]));
  }
}
