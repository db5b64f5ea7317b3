/**
 * Starts a run of this same task for every user: each has a log, retries and an end of its own, and all go on at the same
 * time. One that fails leaves the others alone. The echo service stands for a mailbox.
 *
 * @param {Object} [input]
 * @param {string[]} [input.users] Whom to report on.
 * @param {string} [input.user] Only for children: the one user to report on.
 * @returns {Promise<Object>} The reports, their sum, and who failed; of a child its report.
 */
module.exports = async function reportPerUser(input) {
  if (input.user !== undefined) return reportOn(input.user);

  const users = input.users ?? ["ada", "brian", "chen"];
  const reports = await Promise.allSettled(
    users.map((user) => callTask(task.name, { user }, { tags: { user: String(user) } })),
  );
  const good = reports.filter(({ status }) => status === "fulfilled").map(({ value }) => value);
  const failed = users
    .map((user, i) => ({ user, error: reports[i].reason?.message }))
    .filter(({ error }) => error !== undefined);
  console.log(`${good.length} reports, ${failed.length} failed`);
  return { messages: good.reduce((sum, { messages }) => sum + messages, 0), reports: good, failed };
};

// What a child does.
async function reportOn(user) {
  if (typeof user !== "string" || user === "") throw new TypeError("a user is a name");
  const inbox = await services.echo.echo({ messages: user.length });
  const sent = await services.echo.echo({ messages: 2 * user.length });
  return { user, messages: inbox.messages + sent.messages };
}
