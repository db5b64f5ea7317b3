/**
 * Asks a person and waits for the answer, for days if need be. The address is written to the run's log; a task of yours
 * would send it by mail. It shows a page with two buttons; whoever presses one answers, once. If nobody does in time, the
 * answer is "nobody".
 *
 * @param {Object} [input]
 * @param {string} [input.question="Go on?"] What is asked.
 * @param {number} [input.hours=72] How long to wait, in hours; more than 0.
 * @returns {Promise<{choice: string, at: string}>} "approve", "reject" or "nobody", and when.
 */
module.exports = async function approval(input) {
  const { question = "Go on?", hours = 72 } = input || {};
  if (typeof question !== "string" || question === "") {
    throw new TypeError(`Input "question" must be a text, not ${JSON.stringify(question)}`);
  }
  if (typeof hours !== "number" || !(hours > 0)) {
    throw new TypeError(`Input "hours" must be a number above 0, not ${JSON.stringify(hours)}`);
  }
  const page = { title: question, text: "A run waits for your answer.", choices: ["approve", "reject"] };
  const hook = await createWebhook({ expires: hours * 3600 * 1000, page });
  console.log(`Please answer: ${hook.url}`);
  try {
    const { choice, at } = await hook.wait();
    return { choice, at };
  } catch (error) {
    if (!(error instanceof TimeoutError)) throw error;
    return { choice: "nobody", at: new Date().toISOString() };
  }
};
