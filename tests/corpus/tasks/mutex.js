// A mutex, a semaphore and a queue as libraries write them: waiters are woken in order, errors release the lock.
class Semaphore {
  #free;
  #waiting = [];
  constructor(free) { this.#free = free; }
  async acquire() {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise((resolve) => this.#waiting.push(resolve));
    let released = false;
    return () => {
      if (released) return;
      released = true;
      const next = this.#waiting.shift();
      if (next) next(); else this.#free += 1;
    };
  }
  async run(f) {
    const release = await this.acquire();
    try { return await f(); } finally { release(); release(); }
  }
  get state() { return [this.#free, this.#waiting.length]; }
}
class Channel {
  #values = [];
  #takers = [];
  put(value) { const taker = this.#takers.shift(); if (taker) taker({ value, done: false }); else this.#values.push(value); }
  close() { this.closed = true; for (const taker of this.#takers) taker({ value: undefined, done: true }); }
  next() {
    if (this.#values.length > 0) return Promise.resolve({ value: this.#values.shift(), done: false });
    return this.closed ? Promise.resolve({ value: undefined, done: true }) : new Promise((resolve) => this.#takers.push(resolve));
  }
  [Symbol.asyncIterator]() { return this; }
}
module.exports = async function () {
  const log = [];
  const mutex = new Semaphore(1);
  let balance = 0;
  const add = (label, amount) => mutex.run(async () => {
    log.push(`in ${label}`);
    const read = balance;
    const given = await call(label, amount);
    if (given < 0) throw new Error("refused");
    balance = read + given;
    log.push(`out ${label}`);
  });
  const settled = await Promise.allSettled([add("a", 1), add("b", -1), add("c", 10)]);
  const pair = new Semaphore(2);
  const states = [];
  // With two at a time: 2 is answered first, then 3, and 1 once 4 has begun.
  const job = (n) => pair.run(async () => {
    states.push([n, ...pair.state]);
    return call(`job ${n}`, n, n === 1 ? { after: "job 4" } : {});
  });
  const jobs = await Promise.all([1, 2, 3, 4].map(job));
  const channel = new Channel();
  const received = (async () => { const all = []; for await (const value of channel) all.push(value); return all; })();
  channel.put(1);
  channel.put(await call("sent", 2));
  channel.close();
  const free = [mutex.state, pair.state];
  return { log, balance, settled: settled.map((one) => one.status), states, jobs, received: await received, free };
};
