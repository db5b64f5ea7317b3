// A client of GET /runs/{id}/events (Server-Sent Events) that keeps what it was sent.
import assert from "node:assert/strict";
import http from "node:http";
import { until } from "./wait.mjs";

/** Every event of a text, as {event, id, data, retry}; a comment as {comment}. What is not yet whole is the rest. */
export function parseEvents(text) {
  const blocks = text.split("\n\n");
  const rest = blocks.pop();
  const events = blocks.map((block) => {
    const fields = {};
    for (const line of block.split("\n")) {
      const [, name, value] = /^([a-z]*): ?(.*)$/.exec(line) ?? assert.fail(`no line of an event: ${line}`);
      if (name === "") fields.comment = value;
      else fields[name] = name === "data" && fields.data !== undefined ? `${fields.data}\n${value}` : value;
    }
    return fields.data === undefined ? fields : { ...fields, data: JSON.parse(fields.data) };
  });
  return { events, rest };
}

class Watching {
  events = [];
  comments = 0;
  over = false;
  lastId = "";

  constructor(url, headers) {
    this.answered = new Promise((resolve, reject) => {
      this.request = http.get(url, { headers: { accept: "text/event-stream", ...headers }, agent: false }, (response) => {
        this.response = response;
        this.status = response.statusCode;
        this.headers = response.headers;
        let text = "";
        response.setEncoding("utf8").on("data", (piece) => {
          text += piece;
          if (this.status !== 200) {
            this.text = text;
            return;
          }
          const { events, rest } = parseEvents(text);
          text = rest;
          for (const event of events) this.#take(event);
        });
        response.on("close", () => { this.over = true; });
        resolve(this);
      });
      this.request.on("error", (error) => {
        this.over = true;
        reject(error);
      });
    });
    this.answered.catch(() => {});
  }
  #take(event) {
    if (event.comment !== undefined) this.comments++;
    if (event.id !== undefined) this.lastId = event.id;
    if (event.event) this.events.push(event);
  }

  of(name) { return this.events.filter((event) => event.event === name).map((event) => event.data); }
  logs() { return this.of("log").map((entry) => entry.message); }
  last(name) { return this.of(name).at(-1); }
  ended(ms = 20_000) {
    return until("the stream to end", () => this.over, ms);
  }
  close() { this.request.destroy(); }
}

/** Opens the stream and waits for the answer's head. */
export function watch(server, run, { after, lastEventId, calls = false, headers = {} } = {}) {
  const parameters = [after === undefined ? "" : `after=${after}`, calls ? "calls=1" : ""].filter(Boolean);
  const query = parameters.length ? `?${parameters.join("&")}` : "";
  const more = lastEventId ? { "last-event-id": lastEventId } : {};
  return new Watching(`${server.url}/runs/${run}/events${query}`, { ...more, ...headers }).answered;
}
