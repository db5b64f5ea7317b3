// Calls in try, catch and finally, with values on their way out that must survive the finally block's call.
const order = [];
async function attempt(name, fails) {
  try {
    order.push(await call(`${name} try`));
    if (fails) throw new Error(`${name} failed`);
    return `${name} returned`;
  } catch (error) {
    order.push(await call(`${name} catch`, error.message));
    throw new TypeError("from catch", { cause: error });
  } finally {
    order.push(await call(`${name} finally`));
  }
}
module.exports = async function () {
  const good = await attempt("good", false);
  let bad;
  try {
    bad = await attempt("bad", true);
  } catch (error) {
    bad = [error.name, error.message, error.cause.message];
  }
  const noBinding = await (async () => {
    try {
      throw await call("a thrown value", ["not", "an", "error"]);
    } catch {
      return "caught without a name";
    } finally {
      order.push("last");
    }
  })();
  return { good, bad, noBinding, order };
};
