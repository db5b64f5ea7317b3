// A TCP proxy in front of PostgreSQL that does to its connections what networks and dying servers do: latency, cuts before a
// request, after its commit or in the middle of bytes, black holes, refused connections. It reads PostgreSQL's messages as far
// as it must to know which statement a connection is about to run, also if it was prepared by name.
import { once } from "node:events";
import net from "node:net";

const SSL_REQUEST = 80877103;
const GSS_REQUEST = 80877104;

/** Splits a byte stream into whole messages. `untyped`: how many bytes a message without type byte takes, while there are such. */
class Messages {
  constructor(untyped) {
    this.untyped = untyped;
    this.bytes = Buffer.alloc(0);
  }

  /** The messages that are whole now. */
  * take(chunk) {
    this.bytes = this.bytes.length === 0 ? chunk : Buffer.concat([this.bytes, chunk]);
    for (;;) {
      const untyped = this.untyped?.(this.bytes);
      if (untyped === undefined && this.bytes.length < 5) return;
      const length = untyped ?? 1 + this.bytes.readUInt32BE(1);
      if (this.bytes.length < length) return;
      const message = this.bytes.subarray(0, length);
      this.bytes = this.bytes.subarray(length);
      yield { type: untyped === undefined ? String.fromCharCode(message[0]) : "", bytes: message };
    }
  }
}

/** One way of a connection: bytes arrive `latencyMs` after they were sent, in order. */
class Way {
  constructor(latencyMs, deliver) {
    this.latencyMs = latencyMs;
    this.deliver = deliver;
    this.waiting = [];
  }

  send(bytes) {
    const latency = this.latencyMs();
    if (latency === 0 && this.waiting.length === 0) return this.deliver(bytes);
    this.waiting.push(bytes);
    setTimeout(() => this.deliver(this.waiting.shift()), latency);
  }
}

class Connection {
  constructor(proxy, client) {
    this.proxy = proxy;
    this.client = client;
    this.statements = new Map([["", ""]]);  // the text of each prepared statement
    this.ran = [];                          // texts of the statements run, the last ones
    this.started = false;
    this.lost = false;                      // bytes went nowhere: it cannot be healed
    this.left = {};                         // bytes until it is cut, by direction
    client.setNoDelay(true);
    this.toServer = new Way(() => proxy.latencyMs.toServer, (bytes) => this.#deliver(this.server, "toServer", bytes));
    this.toClient = new Way(() => proxy.latencyMs.toClient, (bytes) => this.#deliver(this.client, "toClient", bytes));
    const requests = new Messages((bytes) => this.#untypedRequest(bytes));
    const answers = new Messages((bytes) => (this.awaitsByte ? Math.min(bytes.length, 1) || undefined : undefined));
    client.on("data", (chunk) => { for (const message of requests.take(chunk)) this.#request(message); });
    client.on("error", () => this.cut());
    client.on("close", () => this.cut());
    if (proxy.swallowing) return void (this.swallowed = this.lost = true);
    this.server = net.connect(proxy.where);
    this.server.setNoDelay(true);
    this.server.on("data", (chunk) => { for (const message of answers.take(chunk)) this.#answer(message); });
    this.server.on("error", () => this.cut());
    this.server.on("close", () => this.cut());
  }

  #untypedRequest(bytes) {
    if (this.started) return undefined;
    return bytes.length < 8 ? Infinity : bytes.readUInt32BE(0);
  }

  #request({ type, bytes }) {
    if (this.swallowed) return;
    if (type === "") {
      const code = bytes.readUInt32BE(4);
      if (code === SSL_REQUEST || code === GSS_REQUEST) this.awaitsByte = true;
      else this.started = true;
    }
    if (type === "P") {
      const [name, text] = strings(bytes, 5, 2);
      this.statements.set(name, text);
    }
    if (type === "B" || type === "Q") {
      const text = type === "Q" ? strings(bytes, 5, 1)[0] : this.statements.get(strings(bytes, 5, 2)[1]) ?? "";
      this.ran = [...this.ran.slice(-20), text];
      this.proxy.statements.push(text);
      const fault = this.proxy.faultFor(text, this);
      if (fault && !this.#begin(fault)) return;
    }
    this.toServer.send(bytes);
    if (this.leaves && (type === "S" || type === "Q")) this.#leave();
  }

  /** The client's side is gone; the server has the whole statement and is left to work on it. */
  #leave() {
    this.swallowed = true;
    this.server.end();
    this.server = undefined;
    this.leaves.done();
    this.cut();
  }

  /** Whether the request is still to be sent. */
  #begin(fault) {
    fault.hits += 1;
    if (fault.when === "request") {
      this.cut();
      return false;
    }
    if (fault.when === "hang") {
      this.swallow();
      return false;
    }
    if (fault.when === "stall") {
      this.lost = true;
      this.server.pause();
      fault.done();
    } else if (fault.when === "sent") this.leaves = fault;
    else if (fault.when === "bytes") this.left[fault.way] = fault.bytes;
    else this.fault = fault;  // what the server answers goes no further
    return true;
  }

  #answer({ type, bytes }) {
    if (this.swallowed) return;
    if (type === "") this.awaitsByte = false;
    if (!this.fault) return this.toClient.send(bytes);
    if (type !== "Z") return;  // ready for the next query: the transaction is committed
    if (this.fault.when === "answer") this.cut();
    else this.swallow();
    this.fault.done();
  }

  #deliver(socket, way, bytes) {
    if (this.swallowed || socket === undefined || socket.destroyed) return;
    const left = this.left[way];
    if (left === undefined) return void socket.write(bytes);
    if (bytes.length < left) {
      this.left[way] -= bytes.length;
      return void socket.write(bytes);
    }
    socket.end(bytes.subarray(0, left));
    this.cut();
  }

  /** From here on nothing gets through, and nobody is told. */
  swallow() {
    this.swallowed = this.lost = true;
  }

  cut() {
    this.proxy.connections.delete(this);
    this.swallowed = true;
    this.client.destroy();
    this.server?.destroy();
  }
}

/** `count` strings that end with a zero byte. */
function strings(bytes, from, count) {
  const out = [];
  for (let at = from; out.length < count;) {
    const end = bytes.indexOf(0, at);
    out.push(bytes.toString("utf8", at, end));
    at = end + 1;
  }
  return out;
}

class FaultProxy {
  constructor(cluster) {
    this.latencyMs = { toServer: 0, toClient: 0 };
    this.connections = new Set();
    this.faults = [];
    this.statements = [];  // all that were run
    this.refusing = false;
    this.swallowing = false;
    this.pointTo(cluster);
    this.listener = net.createServer((client) => {
      if (this.refusing) return void client.resetAndDestroy();
      this.connections.add(new Connection(this, client));
    });
  }

  /** New connections go there; with `tcp` to its port. */
  pointTo(cluster, { tcp = false } = {}) {
    this.where = tcp ? { host: "127.0.0.1", port: cluster.port } : { path: `${cluster.socket}/.s.PGSQL.${cluster.port}` };
  }

  url(database) {
    return `postgresql://postgres@127.0.0.1:${this.listener.address().port}/${database}?sslmode=disable&gssencmode=disable`;
  }

  /**
   * A fault for the next `times` statements that contain `text`, after `skip` of them. `when`:
   *   request        cut before the statement is sent
   *   sent           cut when the whole statement was sent, while the server works on it
   *   answer         cut when the server has committed and answered, and the answer is lost
   *   hang           neither statement nor answer get through, and the connection stays open
   *   answer-hangs   the same, but the server has committed
   *   stall          the answer is not read: the server waits in the middle of sending it, if it is large
   *   bytes          cut after `bytes` more of them have gone `way` (toServer, toClient)
   * Answers the fault; `fault.hits` counts.
   */
  at(text, when, { times = 1, skip = 0, bytes, way = "toServer", only = () => true } = {}) {
    const fault = { text, when, times, skip, bytes, way, only, hits: 0 };
    fault.answered = new Promise((resolve) => { fault.done = resolve; });
    this.faults.push(fault);
    return fault;
  }

  /** How many statements with this text were run. */
  seen(text) { return this.statements.filter((statement) => statement.includes(text)).length; }

  faultFor(text, connection) {
    const due = ({ hits, times, only, ...fault }) => hits < times && text.includes(fault.text) && only(connection);
    return this.faults.filter(due).find((fault) => --fault.skip < 0);
  }

  /** What is sent from now on goes nowhere, both ways, and new connections get no answer. */
  blackHole() {
    this.swallowing = true;
    for (const connection of this.connections) connection.swallow();
  }

  /** New connections are reset. */
  refuse() { this.refusing = true; }

  /** Resets every connection there is. */
  cutAll() {
    for (const connection of [...this.connections]) connection.cut();
  }

  /** No more faults. Connections that lost bytes end, as they do in the end after a partition. */
  heal() {
    this.faults = [];
    this.refusing = this.swallowing = false;
    this.latencyMs = { toServer: 0, toClient: 0 };
    for (const connection of [...this.connections]) if (connection.lost) connection.cut();
  }

  async close() {
    const closed = once(this.listener, "close");
    this.listener.close();
    this.cutAll();
    await closed;
  }
}

/** @param {import("./postgres.mjs").Cluster} cluster */
export async function openFaultProxy(cluster) {
  const proxy = new FaultProxy(cluster);
  proxy.listener.listen(0, "127.0.0.1");
  await once(proxy.listener, "listening");
  return proxy;
}
