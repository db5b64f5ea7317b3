/**
 * Searches the mail of every user in every domain of a Google Workspace and reports what it found, domain by domain and
 * user by user. Each Google call is awaited on its own, so a search of hundreds of mailboxes may take hours, survive
 * restarts of the server and never repeat a call that was answered.
 *
 * A user whose mailbox cannot be read, or a domain whose users cannot be listed, does not end the search: what went wrong is
 * in that user's or domain's `errors`.
 *
 * @param {Object} [input]
 * @param {string} [input.gmailSearchQuery=""] What to search for, as typed into Gmail's search box; empty finds all mail
 *   except Spam and Trash.
 * @param {number} [input.maxUsersPerDomain=500] How many users of each domain to search at most, in order of e-mail address.
 * @param {number} [input.maxResultsPerUser=10] How many messages of each user to report at most, newest first.
 * @returns {Promise<{summary: Object, domainResults: Object[], sampleMessages: Object[], executionInfo: Object}>} Totals;
 *   every domain with its users and their messages; up to 10 messages from different mailboxes; times and call counts.
 *   Times of the run are in `executionInfo` only.
 */
module.exports = async function comprehensiveGmailSearch(input) {
  const options = readInput(input);
  const google = countingClient();
  const startedAt = new Date();

  console.log(
    `Searching for "${options.gmailSearchQuery}": at most ${count(options.maxUsersPerDomain, "user")} per domain, ` +
      `${count(options.maxResultsPerUser, "message")} per user`,
  );
  const domains = await listDomains(google);
  console.log(`Found ${count(domains.length, "domain")}: ${domains.map((domain) => domain.domainName).join(", ")}`);

  const domainResults = [];
  for (let i = 0; i < domains.length; i++) {
    const position = `Domain ${i + 1} of ${domains.length}`;
    domainResults.push(await searchDomain(google, domains[i].domainName, position, options));
  }

  const summary = summarise(domainResults, options);
  console.log(
    `Done: ${count(summary.totalMessagesFound, "message")} of ${count(summary.totalUsers, "user")} in ` +
      `${count(summary.totalDomains, "domain")}, ${count(summary.totalErrors, "error")}, ${count(google.calls.total, "call")}`,
  );
  return {
    summary,
    domainResults,
    sampleMessages: pickSamples(domainResults),
    executionInfo: describeExecution(google.calls, startedAt),
  };
};

const DEFAULTS = { gmailSearchQuery: "", maxUsersPerDomain: 500, maxResultsPerUser: 10 };
// The most either Google API gives in one page.
const PAGE_SIZE = 500;
const SAMPLES = 10;
// A mailbox with more messages than this reports how far it is.
const PROGRESS_STEP = 100;

function count(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

function readInput(input) {
  if (input === undefined || input === null) input = {};
  if (typeof input !== "object" || Array.isArray(input)) throw new TypeError("The input must be an object");
  for (const name of Object.keys(input)) {
    if (!(name in DEFAULTS)) {
      console.warn(`Input "${name}" is not used; known are ${Object.keys(DEFAULTS).join(", ")}`);
    }
  }
  const options = {};
  for (const name of Object.keys(DEFAULTS)) {
    options[name] = input[name] === undefined || input[name] === null ? DEFAULTS[name] : input[name];
  }
  if (typeof options.gmailSearchQuery !== "string") {
    throw new TypeError(`Input "gmailSearchQuery" must be a string, not ${JSON.stringify(options.gmailSearchQuery)}`);
  }
  for (const name of ["maxUsersPerDomain", "maxResultsPerUser"]) {
    if (!Number.isSafeInteger(options[name]) || options[name] < 1) {
      throw new TypeError(`Input "${name}" must be a whole number of at least 1, not ${JSON.stringify(options[name])}`);
    }
  }
  return options;
}

/** Makes Google calls and counts them; `path` is dotted, for example "gmail.users.messages.list". */
function countingClient() {
  const calls = { total: 0, byMethod: {} };
  const call = (path, params) => {
    calls.total += 1;
    calls.byMethod[path] = (calls.byMethod[path] || 0) + 1;
    return __callHostTool__("gapi", path.split("."), [params]);
  };
  return { calls, call };
}

/** What an error says, for the result. A cancelled run is not a failed call: that error is passed on. */
function describeError(error, call) {
  if (error && error.name === "CancelledError") throw error;
  const described = { call, message: String((error && error.message) || error) };
  if (error && error.code !== undefined) described.code = error.code;
  if (error && error.status !== undefined) described.status = error.status;
  return described;
}

/**
 * Reads the pages of a list method until `limit` items are there. An error in the middle keeps the items read before it.
 * Answers `{items, hasMore, errors}`.
 */
async function listAll(google, path, field, params, limit) {
  const items = [];
  let pageToken;
  do {
    const page = { ...params, maxResults: Math.min(PAGE_SIZE, limit - items.length) };
    if (pageToken) page.pageToken = pageToken;
    let answer;
    try {
      answer = await google.call(path, page);
    } catch (error) {
      return { items, hasMore: Boolean(pageToken), errors: [describeError(error, path)] };
    }
    // Google leaves the field out when the page is empty.
    for (const item of answer[field] || []) items.push(item);
    pageToken = answer.nextPageToken;
  } while (pageToken && items.length < limit);
  return { items: items.slice(0, limit), hasMore: Boolean(pageToken) || items.length > limit, errors: [] };
}

/** Without the domains there is nothing to search, so an error here ends the task. */
async function listDomains(google) {
  const answer = await google.call("admin.domains.list", { customer: "my_customer" });
  return answer.domains || [];
}

async function searchDomain(google, domain, position, options) {
  const params = { domain, orderBy: "email" };
  const listed = await listAll(google, "admin.users.list", "users", params, options.maxUsersPerDomain);
  console.log(`${position}, ${domain}: ${count(listed.items.length, "user")}`);
  for (const error of listed.errors) console.warn(`Listing the users of ${domain} failed: ${error.message}`);

  const users = [];
  for (let i = 0; i < listed.items.length; i++) {
    const found = await searchMailbox(google, listed.items[i], options);
    const more = found.hasMore ? ", and there are more" : "";
    console.log(
      `  User ${i + 1} of ${listed.items.length}, ${found.email}: ${count(found.messageCount, "message")}${more}`,
    );
    for (const error of found.errors) console.warn(`  ${error.call} failed for ${found.email}: ${error.message}`);
    users.push(found);
  }
  return {
    domain,
    userCount: users.length,
    totalMessages: users.reduce((total, user) => total + user.messageCount, 0),
    totalErrors: users.reduce((total, user) => total + user.errors.length, listed.errors.length),
    hasMoreUsers: listed.hasMore,
    errors: listed.errors,
    users,
  };
}

async function searchMailbox(google, user, options) {
  const email = user.primaryEmail;
  const params = { userId: email };
  if (options.gmailSearchQuery !== "") params.q = options.gmailSearchQuery;
  const listed = await listAll(google, "gmail.users.messages.list", "messages", params, options.maxResultsPerUser);
  const errors = listed.errors;
  const messages = [];
  for (let i = 0; i < listed.items.length; i++) {
    const id = listed.items[i].id;
    try {
      messages.push(await readMessage(google, email, id));
    } catch (error) {
      // A message may be gone by now; the others are still worth reading.
      errors.push({ ...describeError(error, "gmail.users.messages.get"), messageId: id });
    }
    if ((i + 1) % PROGRESS_STEP === 0) console.log(`    read ${i + 1} of ${listed.items.length} messages`);
  }
  return {
    email,
    name: (user.name && user.name.fullName) || email,
    messageCount: listed.items.length,
    hasMore: listed.hasMore,
    errors,
    messages,
  };
}

async function readMessage(google, userId, id) {
  const metadataHeaders = ["Subject", "From", "Date"];
  const message = await google.call("gmail.users.messages.get", { userId, id, format: "metadata", metadataHeaders });
  const headers = (message.payload && message.payload.headers) || [];
  const header = (name) => {
    const found = headers.find((one) => one.name.toLowerCase() === name);
    return found ? found.value : "";
  };
  return {
    id: message.id,
    threadId: message.threadId,
    subject: header("subject"),
    from: header("from"),
    // A message without a Date header still has the time at which Gmail took it in.
    date: header("date") || new Date(Number(message.internalDate || 0)).toUTCString(),
    snippet: decodeEntities(message.snippet || ""),
  };
}

/** Gmail's snippets are HTML-escaped; a report is plain text. */
function decodeEntities(text) {
  const named = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };
  return text.replace(/&(?:#(\d{1,7})|(amp|lt|gt|quot|apos));/g, (whole, code, name) => {
    if (name) return named[name];
    return Number(code) <= 0x10ffff ? String.fromCodePoint(Number(code)) : whole;
  });
}

function summarise(domainResults, options) {
  const users = domainResults.flatMap((result) => result.users);
  const sum = (field) => domainResults.reduce((total, result) => total + result[field], 0);
  return {
    searchQuery: options.gmailSearchQuery,
    totalDomains: domainResults.length,
    totalUsers: users.length,
    usersWithMessages: users.filter((user) => user.messageCount > 0).length,
    totalMessagesFound: sum("totalMessages"),
    totalErrors: sum("totalErrors"),
  };
}

/** The newest message of every mailbox in turn, then the second newest, until there are enough. */
function pickSamples(domainResults) {
  const samples = [];
  const longest = Math.max(0, ...domainResults.flatMap((result) => result.users.map((user) => user.messages.length)));
  for (let depth = 0; depth < longest && samples.length < SAMPLES; depth++) {
    for (const { domain, users } of domainResults) {
      for (const user of users) {
        const message = user.messages[depth];
        if (!message || samples.length === SAMPLES) continue;
        const { subject, from, date, snippet } = message;
        samples.push({ userEmail: user.email, userName: user.name, domain, subject, from, date, snippet });
      }
    }
  }
  return samples;
}

function describeExecution(calls, startedAt) {
  const completedAt = new Date();
  return {
    startedAt: startedAt.toISOString(),
    completedAt: completedAt.toISOString(),
    durationMs: completedAt.getTime() - startedAt.getTime(),
    totalApiCalls: calls.total,
    callsByMethod: calls.byMethod,
    description: "Every Google call suspended the task, and its answer resumed it",
  };
}
