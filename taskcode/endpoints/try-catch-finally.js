/**
 * Shows that a call which fails is an ordinary exception. Suspending is not one: `try`, `catch` and `finally` see the call
 * as if it were local, however often the task is suspended and resumed inside them.
 *
 * @param {Object} [input]
 * @param {boolean} [input.fail=true] Whether the call in the `try` block fails.
 * @returns {Promise<{steps: string[], caught: ({name: string, code: string, message: string}|null)}>} The blocks that ran,
 *   in order, and what was caught.
 */
module.exports = async function tryCatchFinally(input) {
  const { fail = true } = input || {};
  const steps = [];
  /** @type {?{name: string, code: string, message: string}} */
  let caught = null;
  try {
    steps.push("try");
    if (fail) await __callHostTool__("echo", "fail", [{ code: "demo_failure", message: "This call fails on purpose" }]);
    steps.push(await __callHostTool__("echo", "echo", ["after the call"]));
  } catch (error) {
    steps.push("catch");
    caught = { name: error.name, code: error.code, message: error.message };
  } finally {
    // A call in `finally` suspends like any other, and runs once.
    steps.push(await __callHostTool__("echo", "echo", ["finally"]));
  }
  console.log(`Ran: ${steps.join(", ")}`);
  return { steps, caught };
};
