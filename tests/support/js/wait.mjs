// Bounded waiting. Tests never sleep for a time; they wait for a condition, and a deadline ends them.
import { setTimeout as pause } from "node:timers/promises";

const POLL_MS = 10;

/** Polls `condition` until it answers something truthy, which is returned. Fails after `ms`, saying `what`. */
export async function until(what, condition, ms = 20_000) {
  const deadline = Date.now() + ms;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`waited ${ms} ms in vain: ${what}`);
    await pause(POLL_MS);
  }
}

/** The promise's outcome, or a failure after `ms`. */
export async function within(what, ms, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${ms} ms: ${what}`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
