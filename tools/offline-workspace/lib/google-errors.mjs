// Error bodies in the shapes Google's servers use. Clients branch on `code`, `status` and `errors[].reason`, so those
// three are what must be right.

const RPC_STATUS = {
  400: "INVALID_ARGUMENT",
  401: "UNAUTHENTICATED",
  403: "PERMISSION_DENIED",
  404: "NOT_FOUND",
  409: "ABORTED",
  412: "FAILED_PRECONDITION",
  429: "RESOURCE_EXHAUSTED",
  500: "INTERNAL",
  502: "UNAVAILABLE",
  503: "UNAVAILABLE",
  504: "DEADLINE_EXCEEDED",
};

const REASON = {
  400: "badRequest",
  401: "authError",
  403: "forbidden",
  404: "notFound",
  409: "aborted",
  412: "conditionNotMet",
  429: "rateLimitExceeded",
  500: "backendError",
  502: "backendError",
  503: "backendError",
  504: "backendError",
};

const MESSAGE = {
  403: "Rate Limit Exceeded",
  429: "Too many concurrent requests for user.",
  500: "Internal error encountered.",
  502: "Bad Gateway",
  503: "The service is currently unavailable.",
  504: "The request timed out.",
};

/** An API error answer. `status: null` leaves the RPC status out, as the Directory API's older errors do. */
export function apiError(code, message, reason, options = {}) {
  const item = { message: options.itemMessage ?? message, domain: "global", reason };
  if (options.location) Object.assign(item, { location: options.location, locationType: "header" });
  const error = { code, message, errors: [item] };
  if (options.status !== null) error.status = options.status ?? RPC_STATUS[code] ?? "UNKNOWN";
  if (options.details) error.details = options.details;
  return { status: code, headers: options.headers ?? {}, body: { error } };
}

/** An error of the token endpoint, which follows RFC 6749 and not the API error shape. */
export function tokenError(status, error, description) {
  return { status, headers: {}, body: { error, error_description: description } };
}

export function missingToken() {
  const message =
    "Request is missing required authentication credential. Expected OAuth 2 access token, login cookie or other valid " +
    "authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.";
  return apiError(401, message, "required", {
    itemMessage: "Login Required.",
    location: "Authorization",
    headers: { "WWW-Authenticate": 'Bearer realm="https://accounts.google.com/"' },
  });
}

export function invalidToken() {
  const message =
    "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid " +
    "authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.";
  return apiError(401, message, "authError", {
    itemMessage: "Invalid Credentials",
    location: "Authorization",
    headers: { "WWW-Authenticate": 'Bearer realm="https://accounts.google.com/", error="invalid_token"' },
  });
}

export function insufficientScope(service, acceptedScopes) {
  return apiError(403, "Request had insufficient authentication scopes.", "insufficientPermissions", {
    itemMessage: "Insufficient Permission",
    headers: {
      "WWW-Authenticate": `Bearer realm="https://accounts.google.com/", error="insufficient_scope", scope="${acceptedScopes.join(" ")}"`,
    },
    details: [
      {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        reason: "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
        domain: "googleapis.com",
        metadata: { service },
      },
    ],
  });
}

export function unknownRoute(method, path) {
  return apiError(404, `The offline workspace has no ${method} ${path}`, "notFound");
}

/** What a fault knob answers: the usual error of that HTTP status, with the knob's own words where it gives some. */
export function injectedError(fault) {
  const { status, reason, message } = fault;
  const headers = fault.retryAfter === undefined ? {} : { "Retry-After": String(fault.retryAfter) };
  const text = message ?? MESSAGE[status] ?? `Injected failure ${status}`;
  // A 403 is worth injecting mostly for the quota errors that Google sends under that status.
  const defaultReason = status === 403 ? "rateLimitExceeded" : (REASON[status] ?? "backendError");
  return apiError(status, text, reason ?? defaultReason, { headers });
}
