// Directories of a test's own, removed when its process ends.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const made = new Set();

export function tempDir(name = "sequential-test") {
  const dir = mkdtempSync(join(tmpdir(), `${name}-`));
  made.add(dir);
  return dir;
}

export function removeDir(dir) {
  if (!made.delete(dir)) throw new Error(`not a directory of ours: ${dir}`);
  rmSync(dir, { recursive: true, force: true });
}

process.on("exit", () => {
  const keep = process.env.SEQUENTIAL_TEST_KEEP;
  for (const dir of made) {
    if (keep) process.stderr.write(`kept: ${dir}\n`);
    else rmSync(dir, { recursive: true, force: true });
  }
});
