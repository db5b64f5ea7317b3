#!/usr/bin/env node
// Prints the result of a comprehensive Gmail search for people: `gmail-report.mjs RESULT.json`, where
// the file holds what `sequential-runner run … --wait --json` printed.
import { readFileSync } from "node:fs";

const answer = JSON.parse(readFileSync(process.argv[2], "utf8"));
const run = answer.data ?? answer;
const { summary, domainResults, sampleMessages, executionInfo } = run.result;

/** Pads columns to their widest cell; numbers to the right. */
function table(head, rows) {
  const widths = head.map((name, i) => Math.max(name.length, ...rows.map((row) => String(row[i]).length)));
  const line = (row) =>
    "  " + row.map((cell, i) => (typeof cell === "number" ? String(cell).padStart(widths[i]) : String(cell).padEnd(widths[i]))).join("  ");
  console.log([line(head), "  " + widths.map((width) => "-".repeat(width)).join("  "), ...rows.map(line)].join("\n"));
}

const clip = (text, width) => (text.length > width ? text.slice(0, width - 1) + "…" : text);
const seconds = executionInfo.durationMs === undefined ? undefined : executionInfo.durationMs / 1000;

console.log();
table(
  ["Domain", "Users", "Messages", "Errors"],
  domainResults.map((domain) => [domain.domain, domain.userCount, domain.totalMessages, domain.totalErrors]),
);
console.log("\nNewest of some mailboxes:");
table(
  ["From", "Subject", "Date"],
  sampleMessages.slice(0, 5).map((message) => [clip(message.from ?? "", 34), clip(message.subject ?? "", 44), message.date ?? ""]),
);
console.log(
  `\nDone: ${summary.totalMessagesFound} messages of ${summary.totalUsers} users in ${summary.totalDomains} domains, ` +
    `${executionInfo.totalApiCalls} Google calls, each one durable` + (seconds === undefined ? "" : `, in ${seconds.toFixed(1)} s`) + ".",
);
