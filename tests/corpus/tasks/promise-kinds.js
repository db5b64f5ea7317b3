// allSettled and any over calls that fail for real: the outside world breaks the connection.
const code = (error) => `${error.name} ${error.code}`;
module.exports = async function () {
  const settled = await Promise.allSettled([call("good", 1), call("broken", 2, { broken: true }), Promise.reject("a reason"), 4]);
  const any = await Promise.any([call("broken too", 0, { broken: true }), call("winner", "won"), Promise.reject(new Error("early"))]);
  let none;
  try {
    await Promise.any([call("x", 0, { broken: true }), Promise.reject(new RangeError("y"))]);
  } catch (error) {
    none = [error instanceof AggregateError, error.errors.map((one) => one.name)];
  }
  const caught = await call("last", 0, { broken: true }).then(() => "no error", code).finally(() => call("in finally"));
  return {
    settled: settled.map((one) => one.value ?? (one.reason instanceof Error ? code(one.reason) : one.reason)), any, none, caught,
  };
};
