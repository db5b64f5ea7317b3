// Google, as far as the sink plays it: whoever proves to have the service account's key is given tokens, and without one that is
// good nothing is done at its addresses. Tokens are revoked now and then.
import { verify } from "node:crypto";

const API = "/gmail.googleapis.com/";
const TOKENS = "/oauth2.googleapis.com/token";
const REVOKED_SHARE = 0.03;  // of requests with a good token, while the sink misbehaves
const NO_TOKEN_SHARE = 0.1;  // of requests for a token that are treated badly then
const LATE_MS = [20, 1_500];

function answerJson(response, status, answer) {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(answer));
}

/** Whether whoever sent this has the private key: that is all that is asked for. */
function provesKey(form, publicKey) {
  const [head, claims, signature] = (new URLSearchParams(form).get("assertion") ?? "").split(".");
  return Boolean(signature) && verify("sha256", Buffer.from(`${head}.${claims}`), publicKey, Buffer.from(signature, "base64url"));
}

const tokenOf = (request) => /^Bearer (.*)/.exec(request.headers.authorization ?? "")?.[1];

/** @param {{random, publicKey: string, makeToken: () => string, onBranch: (name: string) => void, misbehaves: () => boolean}} options */
export function openGoogle({ random, publicKey, makeToken, onBranch, misbehaves }) {
  const given = new Set();  // tokens
  const good = new Set();   // of those, the ones that are not revoked

  async function giveToken(body, response) {
    const behaviour = misbehaves() && random.chance(NO_TOKEN_SHARE) ? random.pick(["errors", "late", "cut"]) : undefined;
    if (behaviour === "cut") return void response.socket.destroy();
    if (behaviour === "errors") return void answerJson(response, 503, { error: "unavailable" });
    if (behaviour === "late") await new Promise((resolve) => setTimeout(resolve, random.between(...LATE_MS)));
    if (!provesKey(body, publicKey)) return void answerJson(response, 401, { error: "invalid_grant" });
    const token = makeToken();
    given.add(token);
    good.add(token);
    answerJson(response, 200, { access_token: token, expires_in: 3600, token_type: "Bearer" });
    return undefined;
  }

  return {
    isCall: (request) => request.url.startsWith(API),

    /** The request's text, without the token if it has one that was given and is where such a one belongs. */
    textOf(request, body) {
      const { authorization = "", ...headers } = request.headers;
      const text = JSON.stringify([request.url, headers, body]);
      return request.url.startsWith(API) && given.has(tokenOf(request)) ? text : text + authorization;
    },

    /** Answers the request if it is not to be done: it is for a token, or it has none that is good. Whether it did. */
    async answers(request, body, response) {
      if (request.url === TOKENS) {
        await giveToken(body, response);
        return true;
      }
      if (!request.url.startsWith(API)) return false;
      const token = tokenOf(request);
      if (good.has(token) && !(misbehaves() && random.chance(REVOKED_SHARE))) {
        onBranch("a service used a secret of the keystore");
        return false;
      }
      good.delete(token);
      onBranch("a token was refused");
      answerJson(response, 401, { error: { code: 401, message: "Invalid Credentials" } });
      return true;
    },
  };
}
