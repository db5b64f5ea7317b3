/**
 * Starts a run of this same task for every user: each has a log, retries and an end of its own, and all go on at the same
 * time. One that fails leaves the others alone. The echo service stands for the mailboxes.
 *
 * @param {Object} [input]
 * @param {number} [input.users=3] How many users there are: user-1, user-2 and so on.
 * @param {string} [input.locked="user-3"] Whose mailbox cannot be read.
 * @param {string} [input.user=""] Of a child: the one user to report on.
 * @returns {Promise<Object>} The reports, their sum, and who failed; of a child its report.
 */
module.exports = async function reportPerUser(input) {
  const { users = 3, locked = "user-3", user = "" } = input || {};
  if (user !== "") return reportOn(user, locked);
  if (!Number.isInteger(users) || users < 0) throw new TypeError('Input "users" must be a whole number of at least 0');

  const names = Array.from({ length: users }, (_, i) => `user-${i + 1}`);
  const ends = await Promise.allSettled(names.map((name) => callTask(task.name, { user: name, locked }, { tags: { user: name } })));
  const reports = [];
  const failed = [];
  ends.forEach(({ status, value, reason }, i) => {
    if (status === "fulfilled") reports.push(value);
    else failed.push({ user: names[i], error: reason.message });
  });
  console.log(`${reports.length} reports, ${failed.length} failed`);
  return { messages: reports.reduce((sum, { messages }) => sum + messages, 0), reports, failed };
};

/**
 * What a child does.
 *
 * @param {string} user
 * @param {string} locked
 */
async function reportOn(user, locked) {
  if (user === locked) throw new Error(`the mailbox of ${user} is locked`);
  const inbox = await services.echo.echo({ messages: user.length });
  const sent = await services.echo.echo({ messages: 2 * user.length });
  return { user, messages: inbox.messages + sent.messages };
}
