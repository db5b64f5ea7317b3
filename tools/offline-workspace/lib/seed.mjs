// Generates the workspace: domains, users, mailboxes. Everything follows from the numbers asked for: no clock, no
// randomness from outside, so that two starts with the same numbers hold the same messages under the same ids.
import { createHash } from "node:crypto";
import { COMPANIES, FAMILY_NAMES, GIVEN_NAMES, MONTHS, TOPICS } from "./seed-text.mjs";

export const DEFAULTS = { domains: 3, users: 15, messages: 90 };

const FIRST_DAY = Date.UTC(2025, 0, 6, 7, 0, 0);
const DAYS = 170;
const MINUTE = 60_000;
const CREATED = Date.UTC(2023, 4, 2, 9, 30, 0);

/** mulberry32: a small generator that gives the same numbers on every machine. */
function generator(seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return { next, below: (n) => Math.floor(next() * n), pick: (list) => list[Math.floor(next() * list.length)] };
}

/** 16 hex digits as Gmail's ids have; the leading 1 keeps them in the range of real ones. */
function hexId(...parts) {
  return "1" + createHash("sha256").update(parts.join("\n")).digest("hex").slice(0, 15);
}

/** Shares `total` out by `weights`, whole numbers only, the largest remainders first. */
function share(total, weights) {
  const sum = weights.reduce((a, b) => a + b, 0) || 1;
  const exact = weights.map((weight) => (total * weight) / sum);
  const counts = exact.map(Math.floor);
  const order = exact.map((value, i) => [value - counts[i], i]).sort((a, b) => b[0] - a[0] || a[1] - b[1]);
  let left = total - counts.reduce((a, b) => a + b, 0);
  for (const [, i] of order) {
    if (left <= 0) break;
    if (weights[i] === 0) continue;
    counts[i] += 1;
    left -= 1;
  }
  return counts;
}

function makeDomains(count) {
  return Array.from({ length: count }, (_, i) => {
    const [name, company] = COMPANIES[i] ?? [`site-${i + 1}.example`, `Site ${i + 1}`];
    return {
      domainName: name,
      company,
      isPrimary: i === 0,
      verified: true,
      creationTime: String(CREATED + i * 86_400_000),
    };
  });
}

function asciiLocalPart(text) {
  return text
    .normalize("NFD")
    .replace(/[^A-Za-z]/g, "")
    .toLowerCase();
}

function makeUser(domain, index, taken, noMailbox) {
  const givenName = GIVEN_NAMES[index % GIVEN_NAMES.length];
  // 27 and 25 names have no common factor, so the pairs repeat only after 675 users.
  const familyName = FAMILY_NAMES[index % FAMILY_NAMES.length];
  const base = `${asciiLocalPart(givenName)}.${asciiLocalPart(familyName)}`;
  let local = index === 0 ? "admin" : base;
  for (let n = 2; taken.has(`${local}@${domain.domainName}`); n++) local = `${base}${n}`;
  const email = `${local}@${domain.domainName}`;
  taken.add(email);
  return {
    id: String(100000000000000000000n + BigInt(index) * 7919n + 1n),
    email,
    givenName,
    familyName,
    domain: domain.domainName,
    company: domain.company,
    isAdmin: index === 0,
    mailbox: !noMailbox,
    creationTime: new Date(CREATED + index * 3_600_000).toISOString(),
  };
}

function makeUsers(domains, options) {
  // Earlier domains are larger, and every domain has somebody.
  const extra = share(
    options.users - domains.length,
    domains.map((_, i) => domains.length - i + 1),
  );
  const taken = new Set();
  const users = [];
  domains.forEach((domain, d) => {
    for (let i = 0; i <= extra[d]; i++) {
      const noMailbox = users.length >= options.users - options.noMailbox;
      users.push(makeUser(domain, users.length, taken, noMailbox));
    }
  });
  return users;
}

/** Messages per user: all the same when asked for per user, else uneven, with one empty mailbox at the end. */
function mailboxSizes(users, options) {
  if (options.messagesPerUser !== undefined) return users.map((user) => (user.mailbox ? options.messagesPerUser : 0));
  const random = generator(20250106);
  const weights = users.map((user) => (user.mailbox ? 2 + random.below(9) : 0));
  const withMail = weights.filter((weight) => weight > 0).length;
  if (withMail > 3) weights[weights.map((weight) => weight > 0).lastIndexOf(true)] = 0;
  return share(options.messages, weights);
}

function escapeHtml(text) {
  return text
    .replace(/&/g, "&amp;")
    .replace(/</g, "&lt;")
    .replace(/>/g, "&gt;")
    .replace(/"/g, "&quot;")
    .replace(/'/g, "&#39;");
}

/** A MIME message with one attachment; the emulator takes attachments only in this form. */
function rawWithAttachment(message, filename) {
  const boundary = `part-${message.id}`;
  const content = Buffer.from(`This is ${filename}.\n`).toString("base64");
  const lines = [
    `From: ${message.from}`,
    `To: ${message.to}`,
    `Subject: ${message.subject}`,
    `Date: ${message.date}`,
    `Message-ID: ${message.message_id}`,
    "MIME-Version: 1.0",
    `Content-Type: multipart/mixed; boundary="${boundary}"`,
    "",
    `--${boundary}`,
    "Content-Type: text/plain; charset=utf-8",
    "",
    message.body_text,
    `--${boundary}`,
    `Content-Type: application/octet-stream; name="${filename}"`,
    `Content-Disposition: attachment; filename="${filename}"`,
    "Content-Transfer-Encoding: base64",
    "",
    content,
    `--${boundary}--`,
    "",
  ];
  return Buffer.from(lines.join("\r\n"), "utf8").toString("base64url");
}

function address(user) {
  return `${user.givenName} ${user.familyName} <${user.email}>`;
}

function makeMessage(user, index, at, random, users) {
  const topic = random.pick(TOPICS);
  const colleague = users[(users.indexOf(user) + 1 + random.below(users.length - 1 || 1)) % users.length];
  const words = {
    n: String(1000 + random.below(9000)),
    month: MONTHS[new Date(at).getUTCMonth()],
    who: user.givenName,
  };
  const fill = (text) => text.replace(/\{(\w+)\}/g, (_, name) => words[name]);
  const other = Array.isArray(topic.from) ? random.pick(topic.from) : address(colleague);
  const id = hexId(user.email, index);
  const message = {
    id,
    thread_id: hexId("thread", user.email, index),
    user_email: user.email,
    from: topic.from === "owner" ? address(user) : other,
    to: topic.from === "owner" ? other : address(user),
    subject: fill(topic.subject),
    body_text: fill(topic.body),
    // Gmail's snippets are HTML-escaped text; the emulator's own are not.
    snippet: escapeHtml(fill(topic.body)),
    label_ids: topic.labels,
    date: new Date(at).toUTCString(),
    internal_date: String(at),
    message_id: `<${id}@mail.${user.domain}>`,
  };
  if (topic.attach) message.raw = rawWithAttachment(message, fill(topic.attach));
  return message;
}

function makeMailbox(user, size, users) {
  const random = generator(Number.parseInt(hexId("mailbox", user.email).slice(1, 9), 16));
  const times = new Set();
  while (times.size < size) {
    const day = random.below(DAYS);
    times.add(FIRST_DAY + day * 1440 * MINUTE + random.below(11 * 60) * MINUTE + random.below(60) * 1000);
  }
  // No two messages of a mailbox have the same time, so "newest first" is one order only.
  const ordered = [...times].sort((a, b) => b - a);
  const messages = ordered.map((at, index) => makeMessage(user, index, at, random, users));
  if (size > 0) messages.push(makeSpam(user));
  return messages;
}

/** One message in Spam per mailbox, over and above the number asked for: a search must leave it out. */
function makeSpam(user) {
  const at = FIRST_DAY + 1000;
  const id = hexId("spam", user.email);
  return {
    id,
    thread_id: id,
    user_email: user.email,
    from: "Prize Office <win@prize-office.example>",
    to: user.email,
    subject: "Important: you have won",
    body_text: "Answer within 24 hours.",
    snippet: "Answer within 24 hours.",
    label_ids: ["SPAM", "UNREAD"],
    date: new Date(at).toUTCString(),
    internal_date: String(at),
    message_id: `<${id}@prize-office.example>`,
  };
}

function wholeNumber(name, value, min) {
  if (!Number.isSafeInteger(value) || value < min) throw new Error(`${name} must be a whole number of at least ${min}`);
  return value;
}

/**
 * @param {{domains?: number, users?: number, messages?: number, messagesPerUser?: number, noMailbox?: number}} wanted
 *   `messages` is the total of all mailboxes; `messagesPerUser` gives every mailbox that many instead; the last `noMailbox`
 *   users have no mailbox.
 */
export function makeWorkspace(wanted = {}) {
  const options = { ...DEFAULTS, noMailbox: 0, ...wanted };
  wholeNumber("domains", options.domains, 1);
  wholeNumber("users", options.users, options.domains);
  wholeNumber("messages", options.messages, 0);
  wholeNumber("noMailbox", options.noMailbox, 0);
  if (options.messagesPerUser !== undefined) wholeNumber("messagesPerUser", options.messagesPerUser, 0);
  const domains = makeDomains(options.domains);
  const users = makeUsers(domains, options);
  const sizes = mailboxSizes(users, options);
  const messages = users.flatMap((user, i) => makeMailbox(user, sizes[i], users));
  return { customerId: "C0offline", domains, users, messages, adminEmail: users[0].email, mailboxSizes: sizes };
}
