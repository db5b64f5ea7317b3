// AbortController: reasons, listeners that were added before a suspension, a call given up for a signal and still running.
const withSignal = (signal, promise) => new Promise((resolve, reject) => {
  signal.throwIfAborted();
  signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  promise.then(resolve, reject);
});
module.exports = async function () {
  const events = [];
  const controller = new AbortController();
  const { signal } = controller;
  signal.onabort = (event) => events.push(`onabort ${event.type} ${event.target === signal} ${event.isTrusted}`);
  const removed = () => events.push("never");
  signal.addEventListener("abort", removed);
  await call("listeners are set");
  signal.removeEventListener("abort", removed);
  const kept = call("given up", "its value", { after: "went on" });
  const attempt = withSignal(signal, kept).catch((reason) => `${reason.name}: ${reason.message}`);
  await call("before abort", signal.aborted);
  controller.abort(new RangeError("no longer wanted"));
  controller.abort("twice does nothing");
  const outcome = await attempt;
  await call("went on", signal.aborted);
  const unwanted = call("too late");
  const late = await withSignal(signal, unwanted).catch((reason) => reason === signal.reason);
  const plain = new AbortController();
  plain.abort();
  const { reason } = plain.signal;
  return { events, outcome, late, kept: [await kept, await unwanted], plain: [reason.name, reason instanceof DOMException] };
};
