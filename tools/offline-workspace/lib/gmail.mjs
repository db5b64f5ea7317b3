// Gmail: who may call what is decided here, the mail itself is the emulator's.
import { apiError, insufficientScope, unknownRoute } from "./google-errors.mjs";
import { unwrapMultipart } from "./upload.mjs";

const ALL = "https://mail.google.com/";
const scope = (name) => `https://www.googleapis.com/auth/gmail.${name}`;
const READ = [scope("readonly"), scope("modify"), ALL];
const MODIFY = [scope("modify"), ALL];

export const GMAIL_SCOPES = [
  ALL,
  ...[
    "readonly",
    "modify",
    "metadata",
    "labels",
    "compose",
    "send",
    "insert",
    "settings.basic",
    "settings.sharing",
  ].map(scope),
];

// First match wins. `metadata` marks routes that gmail.metadata opens too, with the limits checked below.
const ROUTES = [
  { method: "GET", path: /^profile$/, scopes: [...READ, scope("compose")], metadata: true },
  { method: "GET", path: /^messages(\/[^/]+)?$/, scopes: READ, metadata: true },
  { method: "GET", path: /^threads(\/[^/]+)?$/, scopes: READ, metadata: true },
  { method: "GET", path: /^messages\/[^/]+\/attachments\/[^/]+$/, scopes: READ },
  { method: "GET", path: /^labels(\/[^/]+)?$/, scopes: [...READ, scope("labels")], metadata: true },
  { method: "GET", path: /^history$/, scopes: READ, metadata: true },
  { method: "GET", path: /^drafts(\/[^/]+)?$/, scopes: [...READ, scope("compose")] },
  { method: "GET", path: /^settings\//, scopes: [...READ, scope("settings.basic")] },
  { method: "POST", path: /^(messages|drafts)\/send$/, scopes: [...MODIFY, scope("compose"), scope("send")] },
  { method: "POST", path: /^messages(\/import)?$/, scopes: [...MODIFY, scope("insert")] },
  { method: "POST", path: /^messages\/batchDelete$/, scopes: [ALL] },
  { method: "DELETE", path: /^(messages|threads)\/[^/]+$/, scopes: [ALL] },
  { method: "POST", path: /^(messages|threads)\/([^/]+\/(modify|trash|untrash)|batchModify)$/, scopes: MODIFY },
  { method: null, path: /^labels(\/[^/]+)?$/, scopes: [...MODIFY, scope("labels")] },
  { method: null, path: /^drafts(\/[^/]+)?$/, scopes: [...MODIFY, scope("compose")] },
  { method: null, path: /^settings\//, scopes: [scope("settings.basic")] },
  { method: "POST", path: /^(watch|stop)$/, scopes: [...READ, scope("metadata")] },
];

const PATH = /^(\/upload)?\/gmail\/v1\/users\/([^/]+)\/(.+)$/;
const EMPTY_LISTS = ["messages", "threads", "drafts", "history"];

function checkScope(route, grant, params) {
  if (route.scopes.some((name) => grant.scopes.includes(name))) return null;
  if (!route.metadata || !grant.scopes.includes(scope("metadata"))) {
    return insufficientScope(
      "gmail.googleapis.com",
      route.metadata ? [...route.scopes, scope("metadata")] : route.scopes,
    );
  }
  if (params.has("q")) return apiError(403, "Metadata scope does not support 'q' parameter", "forbidden");
  if (!["metadata", "minimal"].includes(params.get("format") ?? "metadata")) {
    return apiError(403, "Metadata scope doesn't allow format FULL", "forbidden");
  }
  return null;
}

/** Whose mailbox the request means is allowed only to the impersonated user. */
function checkUser(grant, userId) {
  if (!grant.user) {
    return apiError(400, "Precondition check failed.", "failedPrecondition", { status: "FAILED_PRECONDITION" });
  }
  if (userId !== "me" && userId.toLowerCase() !== grant.user.email) {
    return apiError(403, `Delegation denied for ${grant.user.email}`, "forbidden");
  }
  if (!grant.user.mailbox) {
    return apiError(400, "Mail service not enabled", "failedPrecondition", { status: "FAILED_PRECONDITION" });
  }
  return null;
}

/** The emulator's answer as Gmail would give it: empty lists are left out, every error has Google's shape. */
function asGmail(answer, method, path) {
  if (!/^application\/json\b/i.test(answer.contentType) || answer.body.length === 0) return answer;
  const body = JSON.parse(answer.body.toString("utf8"));
  if (answer.status >= 400 && !body.error) {
    if (answer.status === 404) return unknownRoute(method, path);
    return apiError(answer.status, body.message ?? "The emulator refused the request", "backendError");
  }
  for (const name of EMPTY_LISTS) {
    if (Array.isArray(body[name]) && body[name].length === 0) delete body[name];
  }
  return { status: answer.status, headers: {}, body };
}

/** users.getProfile, which the emulator lacks, put together from its lists. */
async function answerProfile(emulator, email) {
  const read = async (path) => {
    const answer = await emulator.forward({
      email,
      method: "GET",
      path: `/gmail/v1/users/me/${path}`,
      body: Buffer.alloc(0),
    });
    return JSON.parse(answer.body.toString("utf8"));
  };
  const messages = await read("messages?includeSpamTrash=true&maxResults=1");
  const threads = await read("threads?includeSpamTrash=true&maxResults=1");
  const { historyId } = await read("history?startHistoryId=1&maxResults=1");
  return {
    status: 200,
    headers: {},
    body: {
      emailAddress: email,
      messagesTotal: messages.resultSizeEstimate,
      threadsTotal: threads.resultSizeEstimate,
      historyId,
    },
  };
}

/** Answers one request by way of the emulator. `search` is the query with its "?", passed on untouched. */
export async function answerGmail(emulator, grant, { method, path, search, params, contentType, body }) {
  const match = PATH.exec(path);
  if (!match) return unknownRoute(method, path);
  const [, upload = "", userId, rest] = match;
  const route = ROUTES.find((entry) => (entry.method === null || entry.method === method) && entry.path.test(rest));
  if (!route) return unknownRoute(method, path);
  const refusal = checkScope(route, grant, params) ?? checkUser(grant, decodeURIComponent(userId));
  if (refusal) return refusal;
  const { email } = grant.user;
  if (rest === "profile") return answerProfile(emulator, email);
  let content = { contentType, body };
  if (upload && params.get("uploadType") === "multipart") {
    content = unwrapMultipart(contentType, body);
    if (!content) return apiError(400, "Malformed multipart body.", "badRequest");
  }
  // The emulator compares the user id letter by letter; "me" is the user whose token it gets.
  const answer = await emulator.forward({
    ...content,
    email,
    method,
    path: `${upload}/gmail/v1/users/me/${rest}${search}`,
  });
  return asGmail(answer, method, path);
}
