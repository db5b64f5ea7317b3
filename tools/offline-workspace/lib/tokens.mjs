// The token endpoint: the jwt-bearer grant of a service account with domain-wide delegation, checked as Google checks it.
import { randomBytes, verify } from "node:crypto";
import { tokenError } from "./google-errors.mjs";

const GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const AUDIENCES = [
  "https://oauth2.googleapis.com/token",
  "https://www.googleapis.com/oauth2/v4/token",
  "https://accounts.google.com/o/oauth2/token",
];
const MAX_LIFETIME = 3600;
const CLOCK_SKEW = 300;
const EXPIRES_IN = 3599;

const invalidGrant = (description) => tokenError(400, "invalid_grant", description);

function decodePart(part) {
  const value = JSON.parse(Buffer.from(part, "base64url").toString("utf8"));
  if (value === null || typeof value !== "object" || Array.isArray(value)) throw new SyntaxError("not an object");
  return value;
}

function parseAssertion(assertion) {
  const parts = String(assertion).split(".");
  if (parts.length !== 3) return null;
  try {
    return {
      header: decodePart(parts[0]),
      claims: decodePart(parts[1]),
      signed: Buffer.from(`${parts[0]}.${parts[1]}`),
      signature: Buffer.from(parts[2], "base64url"),
    };
  } catch {
    return null;
  }
}

function checkTimes(claims, now) {
  const { iat, exp } = claims;
  const sane = Number.isFinite(iat) && Number.isFinite(exp) && exp > iat && exp - iat <= MAX_LIFETIME;
  if (sane && iat <= now + CLOCK_SKEW && exp > now - CLOCK_SKEW) return null;
  return invalidGrant(
    "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp " +
      "values in the JWT claim.",
  );
}

function checkSignature(jwt, account) {
  if (jwt.header.alg !== "RS256") return invalidGrant("Invalid JWT: Unsupported signature algorithm.");
  const rightKey = jwt.header.kid === undefined || jwt.header.kid === account.keyId;
  if (rightKey && verify("RSA-SHA256", jwt.signed, account.publicKey, jwt.signature)) return null;
  return invalidGrant("Invalid JWT Signature.");
}

function checkScopes(claims, authorised) {
  const scopes = typeof claims.scope === "string" ? claims.scope.split(" ").filter(Boolean) : [];
  if (scopes.length === 0) {
    return { error: tokenError(400, "invalid_scope", "Invalid OAuth scope or ID token audience provided.") };
  }
  if (claims.sub !== undefined && scopes.some((scope) => !authorised.includes(scope))) {
    const text =
      "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of the " +
      "scopes requested.";
    return { error: tokenError(401, "unauthorized_client", text) };
  }
  return { scopes };
}

function parseForm(contentType, body) {
  if (!/^application\/x-www-form-urlencoded\b/i.test(contentType ?? "")) return null;
  return new URLSearchParams(body.toString("utf8"));
}

/**
 * @param account the service account, see service-account.mjs
 * @param findUser (email) → the user or undefined
 * @param authorised the scopes the workspace's administrator has authorised for this account
 * @param clock () → milliseconds; tests give their own
 */
export function createTokens({ account, findUser, authorised, clock = Date.now }) {
  let issued = new Map();
  const audiences = [account.tokenUri, ...AUDIENCES];

  function check(form) {
    const grant = form.get("grant_type");
    if (grant === null) return { error: tokenError(400, "invalid_request", "Missing required parameter: grant_type") };
    if (grant !== GRANT) return { error: tokenError(400, "unsupported_grant_type", `Invalid grant_type: ${grant}`) };
    const jwt = parseAssertion(form.get("assertion") ?? "");
    if (!jwt) return { error: tokenError(400, "invalid_request", "Bad Request") };
    const { claims } = jwt;
    if (claims.iss !== account.clientEmail) return { error: invalidGrant("Invalid grant: account not found") };
    const badSignature = checkSignature(jwt, account);
    if (badSignature) return { error: badSignature };
    if (!audiences.includes(claims.aud)) return { error: invalidGrant("Invalid JWT: Failed audience check.") };
    const badTimes = checkTimes(claims, clock() / 1000);
    if (badTimes) return { error: badTimes };
    const user = claims.sub === undefined ? null : findUser(claims.sub);
    if (user === undefined) return { error: invalidGrant("Invalid email or User ID") };
    const { scopes, error } = checkScopes(claims, authorised);
    return error ? { error } : { user, scopes };
  }

  return {
    /** Answers a request to the token endpoint; `subject` is for the ledger. */
    exchange({ method, contentType, body }) {
      if (method !== "POST") return tokenError(405, "invalid_request", "Method not allowed");
      const form = parseForm(contentType, body);
      if (!form) return tokenError(400, "invalid_request", "The request body must be form-encoded.");
      const { error, user, scopes } = check(form);
      if (error) return error;
      const token = `ya29.c.${randomBytes(48).toString("base64url")}`;
      const subject = user ? user.email : account.clientEmail;
      issued.set(token, { user, subject, scopes, expires: clock() + EXPIRES_IN * 1000 });
      return {
        status: 200,
        headers: {},
        subject,
        body: { access_token: token, expires_in: EXPIRES_IN, token_type: "Bearer" },
      };
    },
    /** The grant behind a bearer token: `{user | null, subject, scopes}`, or undefined when it is unknown or expired. */
    find(token) {
      const grant = issued.get(token);
      if (!grant) return undefined;
      if (grant.expires > clock()) return grant;
      issued.delete(token);
      return undefined;
    },
    revokeAll() {
      issued = new Map();
    },
  };
}
