// AbortSignal.timeout: a durable timer that gives up what takes too long, whatever happened to the server meanwhile.
module.exports = async function () {
  const events = [];
  const signal = AbortSignal.timeout(400);
  signal.addEventListener("abort", () => events.push(`aborted: ${signal.reason.name}`));
  const held = call("held", "late", { after: "given up" });
  const first = await Promise.race([
    held, new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
  ]).catch((reason) => [reason.name, reason instanceof DOMException]);
  events.push("the race is over");
  await call("given up", signal.aborted);
  const unused = AbortSignal.timeout(600_000);
  await call("the other one goes on");
  return { first, events, held: await held, unused: unused.aborted };
};
