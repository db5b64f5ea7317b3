// The ledger: one JSON line per API request, written before the answer leaves. Crash tests read it to prove that no call
// was seen again after its result had been recorded, so a line must exist for every answer a client can have received.
import { closeSync, openSync, writeSync } from "node:fs";

export function openLedger(file) {
  if (!file) return { append() {}, close() {} };
  const descriptor = openSync(file, "a", 0o600);
  let lines = 0;
  return {
    // Written synchronously: the line is in the kernel's hands when the answer is sent. No fsync, because the tests kill
    // servers, not the machine.
    append(entry) {
      lines += 1;
      writeSync(descriptor, JSON.stringify({ n: lines, ...entry }) + "\n");
    },
    close() {
      closeSync(descriptor);
    },
  };
}
