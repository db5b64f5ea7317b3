// Errors made before a suspension and thrown after it: causes, AggregateError, classes of one's own, things that are no errors.
class NotFound extends Error {
  #secret = "kept";
  constructor(what, options) {
    super(`${what} was not found`, options);
    this.name = "NotFound";
    this.what = what;
  }
  get secret() { return this.#secret; }
}
const chain = (error) => {
  if (!(error instanceof Error)) return [error];
  return [error.name, error.message, ...error.cause === undefined ? [] : chain(error.cause)];
};
module.exports = async function () {
  const out = [];
  const early = new NotFound("early", { cause: new RangeError("made before", { cause: { code: 7 } }) });
  await call("the error waits");
  try {
    throw early;
  } catch (error) {
    out.push([error === early, error instanceof NotFound, error.secret, error.what, ...chain(error)]);
  }
  const several = new AggregateError([early, new SyntaxError("second"), await call("third", "no error")], "several", { cause: "text" });
  try {
    await (async () => { await call("deep"); throw several; })();
  } catch (error) {
    out.push([error.name, error.errors.length, error.errors.map((one) => one.name ?? one), error.errors[0] === early, error.cause]);
  }
  for (const thrown of [null, undefined, 0, "text", { message: "only alike" }, Symbol.for("thrown")]) {
    try {
      throw thrown;
    } catch (error) {
      out.push([typeof error, Object.is(error, thrown)]);
    }
  }
  const exception = new DOMException("web", "DataCloneError");
  const rejected = Promise.reject(early);
  const handled = rejected.catch((error) => error.what);
  await call("a rejected promise that is handled");
  out.push([exception.name, exception.code, exception instanceof Error, await handled]);
  const own = Object.keys(early).concat(Object.getOwnPropertyNames(early).filter((name) => name === "cause" || name === "message"));
  return { out, own, text: String(early), json: JSON.stringify(early) };
};
