// Types for authors of task code: everything a task can see besides the language itself (ES2022).
//
// In a JavaScript task, put `/// <reference path="../sequential.d.ts" />` on the first line, or list this file in a
// jsconfig.json with `"lib": ["ES2022"]` and `"types": []`: the DOM's and Node's types would promise what is not there.
//
// A task is a CommonJS module, `module.exports = async function (input) {…}`, or an ES module with a default export. What
// it requires or imports is bundled with it by `sequential-runner publish`. There is no eval, no WebAssembly, no file, socket
// or thread. What a task returns, and what it passes to a call, must be JSON. (Globals are declared with `var`, because only
// those are members of `globalThis` for TypeScript.)

// ---- Host calls -----------------------------------------------------------------------------------------------------

/**
 * How a call is to be made, besides what it says. Whatever is left out follows the service's own policy; an option that does
 * not exist is refused (`invalid_arguments`).
 */
interface CallOptions {
  /**
   * What happens when a crash leaves it unknown whether the call took effect.
   * `"at_least_once"` (default): it is made again, under the same idempotency key.
   * `"at_most_once"`: it is never made again; the call rejects with OutcomeUnknownError.
   */
  delivery?: "at_least_once" | "at_most_once";
  /** Gives up an attempt after so many milliseconds, 1 to 86400000. */
  timeoutMs?: number;
  /** Further attempts, made only after failures that may pass; `false` for a single attempt. */
  retry?: RetryOptions | false;
  /** Says that making the call twice does no harm, so that the service may repeat it by itself. */
  idempotent?: boolean;
  /**
   * Aborted, the call rejects at once with the signal's reason, and is cancelled if it has not ended. (It may have been
   * made, or be made still: what is cancelled is the wait for it.)
   */
  signal?: AbortSignal;
  /** gapi only: the user to act as; otherwise the `userId` of the call, or the administrator. */
  subject?: string;
  /** gapi only: the OAuth scopes to ask for; otherwise those of the method. */
  scopes?: string | readonly string[];
  /** gapi only: how content that is downloaded is handed over. */
  responseType?: "base64" | "text";
}

interface RetryOptions {
  /** How many attempts there are in all, 1 to 1000; at most 1 with `delivery: "at_most_once"`. */
  attempts?: number;
  /** The pause before the second attempt, in milliseconds. */
  backoffMs?: number;
  /** Each further pause is so many times longer, 1 to 100. */
  factor?: number;
  /** No pause is longer than this, in milliseconds. */
  maxBackoffMs?: number;
}

/**
 * Calls a host method and suspends the task until its outcome is recorded: the only way a task reaches the world. Calls
 * that are not awaited one by one run at the same time (`Promise.all` and its kin work as usual).
 *
 * @param service For example "gapi", "keystore", "echo".
 * @param method "users.messages.list" or ["users", "messages", "list"].
 * @param args The arguments: an array, or the only argument if it is not an array.
 * @returns What the method answered. Rejects with HostCallError or one of its kin.
 */
declare function __callHostTool__<T = any>(
  service: string,
  method: string | readonly string[],
  args?: unknown,
  options?: CallOptions,
): Promise<T>;

/** A method of a service, and at the same time the start of a longer method name. */
interface ServiceMethod {
  (...args: any[]): Promise<any>;
  readonly [name: string]: ServiceMethod;
}

/**
 * `services.gapi.gmail.users.messages.list(params)` is `__callHostTool__("gapi", "gmail.users.messages.list", [params])`. A
 * call that needs options is made with `__callHostTool__`.
 */
declare var services: { readonly [service: string]: { readonly [method: string]: ServiceMethod } };

/** A host call failed. An ordinary exception: `try`, `catch` and `finally` work as with any other. */
declare class HostCallError extends Error {
  /** The callee's own code (Google's are numbers), else ours, such as "service_unavailable" or "invalid_arguments". */
  readonly code: string | number;
  /** The callee's HTTP status, if it answered with one. */
  readonly status?: number;
  readonly service: string;
  readonly method: string;
  /** The callee's own list of errors, if it gave one. */
  readonly errors?: readonly any[];
}

/** The call's last attempt took longer than its timeout. `code` is "timeout". */
declare class TimeoutError extends HostCallError {}

/** An at-most-once call was under way in a crash; it may or may not have taken effect. `code` is "outcome_unknown". */
declare class OutcomeUnknownError extends HostCallError {}

/** The call was cancelled, or the run is asked to end. `code` is "cancelled". */
declare class CancelledError extends HostCallError {}

// ---- Tasks that a task starts ---------------------------------------------------------------------------------------

interface StartOptions {
  /** The version to run; otherwise the newest. */
  version?: number;
  /** -1000 to 1000; higher ones first. Of a child otherwise the parent's, else 0. */
  priority?: number;
  tags?: readonly unknown[] | { readonly [name: string]: unknown };
  /** Starts so many milliseconds later. */
  delayMs?: number;
}

/**
 * Runs another task as a child and waits for its end: resolves with its result, or rejects with its error as HostCallError
 * (`message` and `code` are the child's; `cause` has its `name`, `stack` and causes), or with CancelledError if the child was
 * cancelled. The child is a run of its own; it is cancelled with this one. It is started once, whatever crashes.
 *
 * @param input JSON; `{}` if left out.
 */
declare function callTask<T = any>(name: string, input?: unknown, options?: StartOptions): Promise<T>;

/**
 * Starts a run of a task that goes on by itself, whatever becomes of this one. It is started once, whatever crashes, and
 * with `idempotencyKey` once for all who start a run under that key, over HTTP too.
 */
declare function startTask(
  name: string,
  input?: unknown,
  options?: StartOptions & { idempotencyKey?: string },
): Promise<{ readonly runId: number }>;

// ---- The run --------------------------------------------------------------------------------------------------------

/** The run this code belongs to. */
declare var task: {
  readonly id: number;
  /** The name the code was published under. */
  readonly name: string;
  /** The published version; a run keeps to its own, whatever is published later. */
  readonly version: number;
  /** When the run was started, in milliseconds since 1970. */
  readonly started: number;
  /** Aborted when the run is asked to end; the reason is the CancelledError. */
  readonly signal: AbortSignal;
};

/**
 * Suspends the task for at least so many milliseconds, or until a time, at most ten years. Durable: it survives restarts of
 * the server. Rejects with the signal's reason when `signal` is aborted.
 */
declare function sleep(duration: number | Date, options?: { signal?: AbortSignal }): Promise<void>;

// ---- Signals and webhooks: docs/signals.md ---------------------------------------------------------------------------

interface WaitOptions {
  timeout?: number | Date;
  signal?: AbortSignal;
}

/**
 * Waits for a signal of this run and resolves with its payload: the oldest one kept, or the next that comes. Durable.
 *
 * @param name 1 to 128 of A-Z a-z 0-9 . _ - and not beginning with a dot.
 * @param options.timeout Milliseconds, or a time, at most ten years: then it rejects with TimeoutError. Without: never.
 * @param options.signal Aborted, it rejects with the signal's reason and takes no signal any more.
 */
declare function waitForSignal<T = any>(name: string, options?: WaitOptions): Promise<T>;

/** Sends a signal to a run, once. `delivered` says whether it was waiting for it; otherwise the signal is kept. */
declare function sendSignal(run: number | string, name: string, payload?: unknown): Promise<{ delivered: boolean }>;
/** The same as `sendSignal`. */
declare function signal(run: number | string, name: string, payload?: unknown): Promise<{ delivered: boolean }>;

interface WebhookOptions {
  /** Which requests count: "POST" unless said otherwise. */
  methods?: "GET" | "POST" | readonly ("GET" | "POST")[];
  /** The same as `methods`. */
  method?: "GET" | "POST";
  /** For how many milliseconds, or until when; seven days unless said otherwise. */
  expires?: number | Date;
  /** Shows a page with a button for each choice ("approve" and "reject" unless said otherwise); only a button counts. */
  page?: { title?: string; text?: string; choices?: readonly string[] };
}

interface WebhookRequest {
  /** The button that was pressed, of a webhook with a page. */
  choice?: string;
  method: "GET" | "POST";
  query: { [name: string]: string | string[] };
  /** Without credentials; names in lower case. */
  headers: { [name: string]: string };
  /** JSON as its value, a form as its fields, a text as such, other bytes as `{base64}`. */
  body: any;
  /** When it came. */
  at: string;
}

interface Webhook {
  /** The address; whoever has it can answer, once. */
  readonly url: string;
  readonly token: string;
  readonly expires: Date;
  /** The one request. Rejects with TimeoutError when the timeout is over, or the webhook has expired. */
  wait(options?: WaitOptions): Promise<WebhookRequest>;
  /** `wait()`, begun when it is first looked at. Not enumerable: writing or copying the webhook does not begin it. */
  readonly received: Promise<WebhookRequest>;
}

/** Makes an address that takes one request. */
declare function createWebhook(options?: WebhookOptions): Promise<Webhook>;

/**
 * Sets what the run is found by (`runs list --attr orders=12`); null takes an attribute away. Stored once, however often the
 * code is replayed. At most `limits.attributes` (32) of a run; strings of `limits.attribute_chars` (256). Throws a TypeError or RangeError for what cannot be set.
 */
declare function setAttributes(values: { [name: string]: string | number | boolean | null }): void;

/** What is written here is stored as the run's log, once, however often the code is replayed. */
declare var console: {
  debug(...values: unknown[]): void;
  /** Level "info", as `info`. */
  log(...values: unknown[]): void;
  info(...values: unknown[]): void;
  warn(...values: unknown[]): void;
  error(...values: unknown[]): void;
  dir(value: unknown): void;
  table(...values: unknown[]): void;
  trace(...values: unknown[]): void;
  assert(condition: unknown, ...values: unknown[]): void;
  group(...values: unknown[]): void;
  groupCollapsed(...values: unknown[]): void;
  groupEnd(): void;
  count(label?: string): void;
  countReset(label?: string): void;
  /** Measures the time between outcomes, which is the only time a task sees. */
  time(label?: string): void;
  timeLog(label?: string, ...values: unknown[]): void;
  timeEnd(label?: string): void;
};

// ---- For those who watch the run (docs/events.md) -------------------------------------------------------------------

/**
 * What the run shows of itself from now on: any JSON value of at most `limits.status_bytes` (a RangeError above it). Stored
 * with the calls that follow; the last of several counts. Not a call: it returns at once.
 */
declare function setStatus(value: unknown): void;

/** How far the run is, with how much there is to do and a few words, if known. Stored like the status. */
declare function progress(done: number, total?: number | null, message?: string | null): void;

// ---- Timers: durable, like sleep ------------------------------------------------------------------------------------

declare function setTimeout<A extends unknown[]>(callback: (...args: A) => void, ms?: number, ...args: A): number;
declare function clearTimeout(id: number | undefined): void;
declare function setInterval<A extends unknown[]>(callback: (...args: A) => void, ms?: number, ...args: A): number;
declare function clearInterval(id: number | undefined): void;
declare function queueMicrotask(callback: () => void): void;

// ---- Web APIs -------------------------------------------------------------------------------------------------------
// `Date`, `Math.random`, `crypto` and `performance` are deterministic: time stands still between two awaits and is the time
// of the last outcome; random numbers are seeded per run and are not fit for secrets.

/**
 * Makes an HTTP request as a host call: the task is suspended until the whole response is there. Rejects with a TypeError
 * whose `cause` is the HostCallError when there was no response.
 */
declare function fetch(request: string | URL | Request, init?: RequestInit): Promise<Response>;

type HeadersInit = Headers | Record<string, string> | Iterable<readonly [string, string]>;
type BodyInit = string | URLSearchParams | FormData | Blob | ArrayBuffer | ArrayBufferView;

interface RequestInit {
  method?: string;
  headers?: HeadersInit;
  body?: BodyInit | null;
  redirect?: "follow" | "error" | "manual";
  /** Aborted, fetch rejects with the signal's reason, and the request is cancelled if it has not ended. */
  signal?: AbortSignal;
}

/** A request to be made with `fetch`, once; its body is read by that. */
declare class Request {
  constructor(input: string | URL | Request, init?: RequestInit);
  readonly url: string;
  readonly method: string;
  readonly headers: Headers;
  readonly redirect: "follow" | "error" | "manual";
  readonly signal: AbortSignal;
  readonly bodyUsed: boolean;
  text(): Promise<string>;
  json(): Promise<any>;
  bytes(): Promise<Uint8Array>;
  arrayBuffer(): Promise<ArrayBuffer>;
  blob(): Promise<Blob>;
  /** Of a multipart/form-data or application/x-www-form-urlencoded body. */
  formData(): Promise<FormData>;
  clone(): Request;
}

declare class Response {
  constructor(body?: BodyInit | null, init?: { status?: number; statusText?: string; headers?: HeadersInit });
  static json(data: unknown, init?: { status?: number; statusText?: string; headers?: HeadersInit }): Response;
  static error(): Response;
  /** True for a status of 200 to 299. */
  readonly ok: boolean;
  readonly status: number;
  readonly statusText: string;
  /** The address that answered, after redirects. */
  readonly url: string;
  readonly redirected: boolean;
  readonly type: string;
  readonly headers: Headers;
  readonly bodyUsed: boolean;
  text(): Promise<string>;
  json(): Promise<any>;
  bytes(): Promise<Uint8Array>;
  arrayBuffer(): Promise<ArrayBuffer>;
  blob(): Promise<Blob>;
  /** Of a multipart/form-data or application/x-www-form-urlencoded body. */
  formData(): Promise<FormData>;
  clone(): Response;
}

type BlobPart = string | Blob | ArrayBuffer | ArrayBufferView;

/** Bytes in memory, with a type. There are no streams. */
declare class Blob {
  constructor(parts?: Iterable<BlobPart>, options?: { type?: string; endings?: "transparent" | "native" });
  readonly size: number;
  readonly type: string;
  slice(start?: number, end?: number, type?: string): Blob;
  text(): Promise<string>;
  bytes(): Promise<Uint8Array>;
  arrayBuffer(): Promise<ArrayBuffer>;
}

declare class File extends Blob {
  constructor(
    parts: Iterable<BlobPart>, name: string, options?: { type?: string; endings?: "transparent" | "native"; lastModified?: number },
  );
  readonly name: string;
  readonly lastModified: number;
}

/** A form; as the body of a request it is sent as multipart/form-data. */
declare class FormData {
  append(name: string, value: string | Blob, filename?: string): void;
  delete(name: string): void;
  get(name: string): string | File | null;
  getAll(name: string): (string | File)[];
  has(name: string): boolean;
  set(name: string, value: string | Blob, filename?: string): void;
  forEach(callback: (value: string | File, name: string, form: FormData) => void, thisArg?: unknown): void;
  entries(): IterableIterator<[string, string | File]>;
  keys(): IterableIterator<string>;
  values(): IterableIterator<string | File>;
  [Symbol.iterator](): IterableIterator<[string, string | File]>;
}

declare class Headers {
  constructor(init?: HeadersInit);
  append(name: string, value: string): void;
  delete(name: string): void;
  get(name: string): string | null;
  getSetCookie(): string[];
  has(name: string): boolean;
  set(name: string, value: string): void;
  forEach(callback: (value: string, name: string, headers: Headers) => void, thisArg?: unknown): void;
  entries(): IterableIterator<[string, string]>;
  keys(): IterableIterator<string>;
  values(): IterableIterator<string>;
  [Symbol.iterator](): IterableIterator<[string, string]>;
}

declare class URLSearchParams {
  constructor(init?: string | URLSearchParams | Record<string, string> | Iterable<readonly [string, string]>);
  append(name: string, value: string): void;
  delete(name: string): void;
  get(name: string): string | null;
  getAll(name: string): string[];
  has(name: string): boolean;
  set(name: string, value: string): void;
  sort(): void;
  toString(): string;
  forEach(callback: (value: string, name: string) => void): void;
  entries(): IterableIterator<[string, string]>;
  keys(): IterableIterator<string>;
  values(): IterableIterator<string>;
  [Symbol.iterator](): IterableIterator<[string, string]>;
}

declare class URL {
  constructor(url: string | URL, base?: string | URL);
  hash: string;
  host: string;
  hostname: string;
  href: string;
  readonly origin: string;
  password: string;
  pathname: string;
  port: string;
  protocol: string;
  search: string;
  readonly searchParams: URLSearchParams;
  username: string;
  toString(): string;
  toJSON(): string;
}

declare class TextEncoder {
  readonly encoding: "utf-8";
  encode(text?: string): Uint8Array;
  encodeInto(text: string, destination: Uint8Array): { read: number; written: number };
}

/** Decodes UTF-8, UTF-16 (either byte order) and windows-1252. */
declare class TextDecoder {
  constructor(label?: string, options?: { fatal?: boolean; ignoreBOM?: boolean });
  readonly encoding: string;
  readonly fatal: boolean;
  readonly ignoreBOM: boolean;
  decode(bytes?: ArrayBuffer | ArrayBufferView, options?: { stream?: boolean }): string;
}

declare class Event {
  constructor(type: string, init?: { bubbles?: boolean; cancelable?: boolean; composed?: boolean });
  readonly type: string;
  readonly target: EventTarget | null;
  readonly currentTarget: EventTarget | null;
  readonly bubbles: boolean;
  readonly cancelable: boolean;
  readonly defaultPrevented: boolean;
  readonly timeStamp: number;
  preventDefault(): void;
  stopPropagation(): void;
  stopImmediatePropagation(): void;
}

declare class CustomEvent<T = any> extends Event {
  constructor(type: string, init?: { bubbles?: boolean; cancelable?: boolean; composed?: boolean; detail?: T });
  readonly detail: T;
}

type EventListener = ((event: Event) => void) | { handleEvent(event: Event): void };

declare class EventTarget {
  addEventListener(
    type: string,
    listener: EventListener | null,
    options?: boolean | { capture?: boolean; once?: boolean; passive?: boolean; signal?: AbortSignal },
  ): void;
  removeEventListener(type: string, listener: EventListener | null, options?: boolean | { capture?: boolean }): void;
  dispatchEvent(event: Event): boolean;
}

declare class AbortController {
  readonly signal: AbortSignal;
  abort(reason?: unknown): void;
}

declare class AbortSignal extends EventTarget {
  private constructor();
  /** A signal that is aborted already. */
  static abort(reason?: unknown): AbortSignal;
  /** A signal that aborts after `ms` milliseconds: a durable timer. */
  static timeout(ms: number): AbortSignal;
  /** A signal that aborts as soon as one of `signals` does. */
  static any(signals: Iterable<AbortSignal>): AbortSignal;
  readonly aborted: boolean;
  readonly reason: any;
  onabort: ((event: Event) => void) | null;
  throwIfAborted(): void;
}

/** What aborted signals, structuredClone, atob and btoa throw. */
declare class DOMException extends Error {
  constructor(message?: string, name?: string | { name?: string; cause?: unknown });
  readonly code: number;
}

declare function structuredClone<T>(value: T, options?: { transfer?: readonly ArrayBuffer[] }): T;
/** Base64 of a string whose characters are bytes, and back. */
declare function btoa(bytes: string): string;
declare function atob(base64: string): string;

declare var crypto: {
  randomUUID(): string;
  /** For integer arrays of at most 65536 bytes. */
  getRandomValues<T extends ArrayBufferView>(array: T): T;
  readonly subtle: SubtleCrypto;
};

type HashName = "SHA-1" | "SHA-256" | "SHA-384" | "SHA-512";
type BufferSource = ArrayBuffer | ArrayBufferView;

/** Digests and HMAC: enough to sign requests and to check the signatures of others. */
interface SubtleCrypto {
  digest(algorithm: HashName | { name: HashName }, data: BufferSource): Promise<ArrayBuffer>;
  /** A key for HMAC. It is part of the run's memory only; keys of services belong into the keystore. */
  importKey(
    format: "raw",
    key: BufferSource,
    algorithm: { name: "HMAC"; hash: HashName | { name: HashName } },
    extractable: boolean,
    usages: readonly ("sign" | "verify")[],
  ): Promise<CryptoKey>;
  exportKey(format: "raw", key: CryptoKey): Promise<ArrayBuffer>;
  sign(algorithm: "HMAC" | { name: "HMAC" }, key: CryptoKey, data: BufferSource): Promise<ArrayBuffer>;
  verify(
    algorithm: "HMAC" | { name: "HMAC" },
    key: CryptoKey,
    signature: BufferSource,
    data: BufferSource,
  ): Promise<boolean>;
}

declare class CryptoKey {
  private constructor();
  readonly type: "secret";
  readonly extractable: boolean;
  readonly algorithm: { name: "HMAC"; hash: { name: HashName }; length: number };
  readonly usages: ("sign" | "verify")[];
}

/** `globalThis` under the name that libraries for the web look for. */
declare var self: typeof globalThis;

declare var performance: {
  /** Milliseconds since the run was started. */
  now(): number;
  readonly timeOrigin: number;
};
