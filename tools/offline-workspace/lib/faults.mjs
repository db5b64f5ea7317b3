// Fault knobs for tests, set by POST /_control:
//   {"failNext": {"match": "/gmail/", "status": 503, "count": 2, "retryAfter": 1}}   or a list of such
//       match       part of the request's path and query (as received, "/_h/{host}/…"); default: every API request
//       status      the answer's HTTP status; 0 breaks the connection instead
//       count       how many matching requests (1)
//       when        "before" the request has any effect (default), or "after" it had it
//       reason, message, retryAfter     for the answer
//   {"delayMs": 20}        every API answer waits so long
//   {"revokeTokens": true} every access token becomes invalid
//   {"reset": true}        no faults, no delay
import { injectedError, tokenError } from "./google-errors.mjs";

const FAULT_KEYS = ["match", "status", "count", "when", "reason", "message", "retryAfter"];
const CONTROL_KEYS = ["failNext", "delayMs", "revokeTokens", "reset"];

function unknownKey(value, known) {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return "(not an object)";
  return Object.keys(value).find((key) => !known.includes(key));
}

function parseFault(raw) {
  const bad = unknownKey(raw, FAULT_KEYS);
  if (bad) throw new Error(`failNext: unknown field ${bad}`);
  const fault = { match: "", count: 1, when: "before", ...raw };
  const status = fault.status;
  if (status !== 0 && !(Number.isInteger(status) && status >= 400 && status <= 599)) {
    throw new Error("failNext.status must be 0 or 400 to 599");
  }
  if (!Number.isInteger(fault.count) || fault.count < 1) throw new Error("failNext.count must be at least 1");
  if (!["before", "after"].includes(fault.when)) throw new Error('failNext.when must be "before" or "after"');
  return fault;
}

export function createFaults({ onRevoke }) {
  let faults = [];
  let delayMs = 0;
  return {
    /** Applies a control document; throws an Error with a clear text when it is wrong, and then changes nothing. */
    control(document) {
      const bad = unknownKey(document, CONTROL_KEYS);
      if (bad) throw new Error(`unknown field ${bad}`);
      const added = document.failNext === undefined ? [] : [document.failNext].flat().map(parseFault);
      const delay = document.delayMs ?? delayMs;
      if (!Number.isInteger(delay) || delay < 0) throw new Error("delayMs must be a whole number of at least 0");
      if (document.reset) faults = [];
      faults.push(...added);
      delayMs = document.reset ? (document.delayMs ?? 0) : delay;
      if (document.revokeTokens) onRevoke();
    },
    /** The fault that hits this request, if any; it is used up by that. */
    take(url) {
      const fault = faults.find(({ match }) => url.includes(match));
      if (!fault) return undefined;
      fault.count -= 1;
      if (fault.count === 0) faults = faults.filter((other) => other !== fault);
      return fault;
    },
    answer(fault, host) {
      if (host !== "oauth2.googleapis.com") return injectedError(fault);
      const text = fault.message ?? "Injected failure";
      return {
        ...tokenError(fault.status, fault.reason ?? "internal_failure", text),
        headers: injectedError(fault).headers,
      };
    },
    state: () => ({ failNext: faults, delayMs }),
    get delayMs() {
      return delayMs;
    },
  };
}
