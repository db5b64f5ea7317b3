// Event emitters: listeners added before a suspension, once, removed while dispatching, objects with handleEvent, own subclasses.
class Progress extends Event {
  constructor(done, total) { super("progress", { cancelable: true }); Object.assign(this, { done, total }); }
}
class Job extends EventTarget {
  #done = 0;
  async run(steps) {
    for (const step of steps) {
      this.#done += await call(step, 1);
      if (!this.dispatchEvent(new Progress(this.#done, steps.length))) break;
    }
    this.dispatchEvent(new Event("end"));
    return this.#done;
  }
}
const emitter = () => {
  const listeners = new Map();
  return {
    on(name, f) { listeners.set(name, [...listeners.get(name) ?? [], f]); return this; },
    once(name) { return new Promise((resolve) => { const f = (value) => { this.off(name, f); resolve(value); }; this.on(name, f); }); },
    off(name, f) { listeners.set(name, listeners.get(name).filter((one) => one !== f)); },
    emit(name, value) { for (const f of listeners.get(name) ?? []) f(value); return listeners.get(name)?.length ?? 0; },
  };
};
module.exports = async function () {
  const log = [];
  const job = new Job();
  const second = () => log.push("removed before its turn");
  job.addEventListener("progress", ({ done, total, type, target }) => {
    log.push(`${type} ${done}/${total} ${target === job}`);
    job.removeEventListener("progress", second);
  });
  job.addEventListener("progress", second);
  const listener = {
    limit: 3,
    handleEvent(event) {
      log.push(`object ${this === listener}`);
      if (event.done === this.limit) event.preventDefault();
    },
  };
  job.addEventListener("progress", listener);
  job.addEventListener("progress", () => log.push("once"), { once: true });
  const controller = new AbortController();
  job.addEventListener("end", () => log.push("aborted listener"), { signal: controller.signal });
  job.addEventListener("end", function (event) { log.push(`end ${this === job} ${event.defaultPrevented} ${event.cancelable}`); });
  const running = job.run(["one", "two", "three", "four"]);
  controller.abort();
  const done = await running;
  const bus = emitter();
  bus.on("n", (n) => log.push(`on ${n}`));
  const next = bus.once("n");
  const left = bus.emit("n", await call("emitted", 5));
  return { log, done, left, next: await next, after: bus.emit("n", 6) };
};
