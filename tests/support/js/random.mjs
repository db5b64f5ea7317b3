// Seeded randomness. The seed is printed, and SEQUENTIAL_TEST_SEED repeats a run.
import { randomInt } from "node:crypto";

export function testSeed() {
  const given = process.env.SEQUENTIAL_TEST_SEED;
  const seed = given ? Number(given) >>> 0 : randomInt(2 ** 32);
  console.log(`seed: SEQUENTIAL_TEST_SEED=${seed}`);
  return seed;
}

/** mulberry32 with helpers. */
export function createRandom(seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    next,
    /** A whole number from `low` to `high`, both included. */
    between: (low, high) => low + Math.floor(next() * (high - low + 1)),
    pick: (list) => list[Math.floor(next() * list.length)],
    chance: (probability) => next() < probability,
  };
}
