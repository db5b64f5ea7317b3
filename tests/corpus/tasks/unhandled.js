// Rejections and exceptions that nobody handles do not end the run: they are in its log, once each, in the order they happened.
module.exports = async function () {
  console.log("begins");
  Promise.reject(new Error("nobody handles this"));
  const late = Promise.reject(new RangeError("handled after a call"));
  await call("first");
  const name = await late.catch((error) => error.name);
  await new Promise((resolve) => {
    (async () => {
      const message = await call("second", "in a function that nobody waits for");
      resolve(call("third"));
      throw new Error(message);
    })();
  });
  queueMicrotask(() => { throw new TypeError("in a microtask"); });
  const target = new EventTarget();
  target.addEventListener("x", () => { throw new Error("in a listener"); });
  target.addEventListener("x", () => console.log("the next listener"));
  target.dispatchEvent(new Event("x"));
  await new Promise((resolve) => setTimeout(() => { resolve(); throw new Error("in a timer"); }, 10));
  console.log("ends");
  await call("fourth");
  return { name, ended: true };
};
