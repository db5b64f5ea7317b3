// I11: the secrets of the rig's world, and the search for them. Each is made new for each run of the rig and occurs nowhere but
// in the file it is kept in, sealed in the keystore, and in what the sink is sent to prove who sends it. It is looked for in
// every answer of a node, every request to the sink and to the chain's proxy, and at each check in every file and row, as it is
// and in hexadecimal and base64.
import { createReadStream, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { generateKeyPair, randomBytes } from "node:crypto";
import { basename, join, relative } from "node:path";
import { promisify } from "node:util";
import { insist, Violation } from "./base.mjs";

// Pages for people and programs whose answers are looked at, whether or not a version has them.
const ROUTES = [
  "/", "/livez", "/readyz", "/stats", "/limits", "/metrics", "/services", "/errors", "/db/status", "/keystore", "/keystore/default",
  "/keystore/rig/CANARY", "/tasks", "/tasks/random", "/runs?limit=100",
];
const PEM_LINE = 3;  // of a private key, counted from its first
const CHUNK_BYTES = 256 * 1024;

/** Base64 of `bytes` wherever they begin among others: what is the same whatever stands before and after. */
function base64Forms(bytes) {
  const forms = [0, 1, 2].map((before) => {
    const whole = Buffer.concat([Buffer.alloc(before), bytes]);
    return whole.toString("base64").slice(Math.ceil((before * 4) / 3), Math.floor((whole.length * 4) / 3));
  });
  return [...forms, ...forms.map((text) => text.replaceAll("+", "-").replaceAll("/", "_"))];
}

export class Secrets {
  #needles = [];  // {what, bytes}
  #longest = 1;
  searched = 0;   // bytes

  constructor() {
    this.mark = `canary${randomBytes(12).toString("hex")}`;
    this.hide("a canary", this.mark);
  }

  /** A new secret; to search for it is to search for the mark in it. `kind` is a word that tells which one it is. */
  make(kind) {
    return `${this.mark}.${kind}.${randomBytes(9).toString("hex")}`;
  }

  /** Another secret to look for: text or bytes. */
  hide(what, secret) {
    const bytes = Buffer.from(secret);
    const hex = bytes.toString("hex");
    const forms = [[bytes, ""], [hex, " in hexadecimal"], [hex.toUpperCase(), " in hexadecimal"],
      ...base64Forms(bytes).map((text) => [text, " in base64"])];
    for (const [form, how] of forms) {
      const needle = Buffer.from(form);
      if (this.#needles.some((one) => one.bytes.equals(needle))) continue;
      this.#needles.push({ what: `${what}${how}`, bytes: needle });
      this.#longest = Math.max(this.#longest, needle.length);
    }
  }

  /** The keys that the nodes made for themselves. */
  hideKeys(dir) {
    const chain = readFileSync(join(dir, "chain.key"), "utf8").trim();
    const { key } = JSON.parse(readFileSync(join(dir, "keystore.key"), "utf8"));
    for (const [what, hex] of [["the chain's key", chain], ["the keystore's key", key]]) {
      if (!/^[0-9a-f]{32,}$/i.test(hex)) throw new Error(`${what} is not written in hexadecimal digits`);
      this.hide(what, hex);
      this.hide(what, Buffer.from(hex, "hex"));
    }
  }

  /** A service account's key, as an operator stores it, and its public half. */
  async makeAccount() {
    const { privateKey, publicKey } = await promisify(generateKeyPair)("rsa", {
      modulusLength: 2048, privateKeyEncoding: { type: "pkcs8", format: "pem" }, publicKeyEncoding: { type: "spki", format: "pem" },
    });
    this.hide("the service account's private key", privateKey.split("\n")[PEM_LINE]);
    const document = {
      type: "service_account", client_email: "rig@rig.test", private_key_id: this.make("google_key"), private_key: privateKey,
    };
    return { document: JSON.stringify(document), publicKey };
  }

  /** What of the secrets is in there, or undefined. */
  find(bytes) {
    this.searched += bytes.length;
    for (const { what, bytes: needle } of this.#needles) {
      const at = bytes.indexOf(needle);
      if (at < 0) continue;
      const [, kind] = /^\.(\w+)\./.exec(bytes.toString("latin1", at + needle.length, at + needle.length + 24)) ?? [];
      return `${what}${kind ? ` (${kind})` : ""} at ${at}`;
    }
    return undefined;
  }
  insistNotIn(data, where) {
    const found = this.find(Buffer.from(data));
    if (found) throw new Violation("I11", `${where} holds ${found}`);
  }

  /** Takes a stream bit by bit. */
  reader(where) {
    let kept = Buffer.alloc(0);
    return (chunk) => {
      const bytes = kept.length === 0 ? chunk : Buffer.concat([kept, chunk]);
      this.insistNotIn(bytes, where);
      kept = bytes.subarray(Math.max(0, bytes.length - this.#longest + 1));
    };
  }

  /** Reads a file from there on; answers how far. */
  async insistNotInFile(path, where, from = 0) {
    const start = Math.max(0, from - this.#longest);
    const read = this.reader(where);
    let end = start;
    for await (const chunk of createReadStream(path, { start, highWaterMark: CHUNK_BYTES })) {
      read(chunk);
      end += chunk.length;
    }
    return end;
  }
}

/** A file that only its owner reads. */
export function keepSecret(path, text) {
  writeFileSync(path, `${text}\n`, { mode: 0o600 });
  return path;
}

function filesUnder(dir) {
  return readdirSync(dir, { withFileTypes: true }).flatMap((entry) => {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) return filesUnder(path);
    return entry.isFile() ? [path] : [];
  });
}

/** Looks everywhere. */
export class Search {
  #readTo = new Map();  // file that only grows → how far it was read

  constructor(world) {
    this.world = world;
  }

  /** What running nodes show: their pages, to those who may and to those who may not see them, and their processes. */
  async ofNodes() {
    const { secrets, token, nodes } = this.world;
    for (const node of nodes) {
      for (const route of ROUTES) {
        const answer = await node.request("GET", route);  // which is looked at where it arrives
        insist(answer.status < 500, "P12", `GET ${route} of ${node.name} was answered ${answer.status}`);
      }
      const stranger = await node.request("GET", "/stats", { headers: { authorization: `Bearer ${token.slice(0, -1)}!` } });
      insist(stranger.status === 401, "I11", `${node.name} answers ${stranger.status} to a token that is not quite right`);
      for (const pid of [node.pid, ...node.lookAtEngines().map((engine) => engine.pid)]) {
        for (const what of ["cmdline", "environ"]) secrets.insistNotIn(readFileSync(`/proc/${pid}/${what}`), `${what} of ${node.name}`);
      }
    }
  }

  /** Every file but those that are there for a secret, and every row. `whole`: not only what is new. */
  async ofStore(range, whole) {
    const { world } = this;
    // The rows first: they tell more than the database's file in which they are.
    await world.eyes.dump(whole ? { after: 0, through: range.through } : range, (table) => world.secrets.reader(`a row of ${table}`));
    for (const path of filesUnder(world.dir)) await this.#file(path, whole);
    if (world.cluster) world.secrets.insistNotIn(world.cluster.log, "PostgreSQL's log");
  }

  async #file(path, whole) {
    const { secrets, dir, secretFiles, eyes } = this.world;
    if (secretFiles.has(path)) {
      const mode = statSync(path).mode & 0o777;
      return insist((mode & 0o077) === 0, "I11", `${basename(path)} can be read by others: mode ${mode.toString(8)}`);
    }
    if (path === eyes.path && !whole) return undefined;  // its new rows are looked at, and its log
    const grows = /\.(log|jsonl)$/.test(path);
    const where = `the file ${relative(dir, path)}`;
    try {
      const end = await secrets.insistNotInFile(path, where, grows ? this.#readTo.get(path) : 0);
      if (grows) this.#readTo.set(path, end);
    } catch (error) {
      if (error.code !== "ENOENT") throw error;  // the database's own come and go
    }
    return undefined;
  }
}
