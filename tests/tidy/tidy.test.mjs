// House rules that a machine can check. Each test names the rule; the message names file and line.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const tracked = execFileSync("git", ["ls-files", "-co", "--exclude-standard"], { cwd: root, encoding: "utf8" })
  .split("\n")
  .filter((path) => path && existsSync(join(root, path)));
const read = (path) => readFileSync(join(root, path), "utf8");
const sources = tracked.filter((path) => /\.(cpp|h|mjs|js|ts|sh)$/.test(path) && !/generated|google-apis/.test(path));
const cpp = sources.filter((path) => /\.(cpp|h)$/.test(path));

/** Lines of `files` that match `pattern`, as "path:line: text". */
function matches(files, pattern) {
  const found = [];
  for (const path of files) {
    read(path).split("\n").forEach((line, i) => {
      if (pattern.test(line)) found.push(`${path}:${i + 1}: ${line.trim()}`);
    });
  }
  return found;
}
const outside = (...folders) => (path) => !folders.some((folder) => path.startsWith(folder));

test("files have at most 600 lines", () => {
  const long = sources.filter((path) => read(path).split("\n").length > 601);
  assert.deepEqual(long, []);
});

test("C++ lines have at most 100 columns", () => {
  const long = matches(cpp.filter(outside("tests/")), /^.{101,}$/u).filter((line) => !/https?:\/\//.test(line));
  assert.deepEqual(long, []);
});

test("C++ functions have at most 70 lines", () => {
  const long = [];
  for (const path of cpp.filter(outside("tests/"))) {
    let start = -1;
    read(path).split("\n").forEach((line, i) => {
      // A body begins on a line that ends in `{` and belongs to a function, not to a scope of declarations.
      const opens = /^(?: {2})?\S.*\)(?: const| noexcept| override| final|\s)*(?: ->.*)? \{$/.test(line);
      if (opens && start < 0 && !/^\s*(namespace|class|struct|enum|if|for|while|switch)\b/.test(line)) start = i;
      if (start >= 0 && /^(?: {2})?\}/.test(line)) {
        if (i - start > 70) long.push(`${path}:${start + 1}: ${i - start} lines`);
        start = -1;
      }
    });
  }
  assert.deepEqual(long, []);
});

test("each library is included only where it belongs", () => {
  const product = cpp.filter(outside("tests/", "bench/"));
  const rules = [
    [/#include <boost\/beast/, ["server/"]],
    [/#include <boost\/asio/, ["server/", "engine/src/pool/", "engine/include/sequential/engine/engine_pool.h"]],
    [/#include <v8|#include <libplatform/, ["engine/src/v8/"]],
    [/#include <sqlite3/, ["storage/src/sqlite/"]],
    [/#include <curl/, ["services/src/", "cli/src/"]],
    [/#include <openssl/, ["services/src/"]],
    [/#include <sodium/, ["base/src/", "services/src/keystore"]],
    [/#include <seccomp/, ["engine/src/"]],
  ];
  const wrong = rules.flatMap(([pattern, homes]) => matches(product.filter(outside(...homes)), pattern));
  assert.deepEqual(wrong, []);
});

test("headers drag no JSON library and no namespace into their users", () => {
  const headers = cpp.filter((path) => path.includes("/include/"));
  assert.deepEqual(matches(headers, /nlohmann|using namespace/), []);
});

test("tests never sleep", () => {
  const tests = sources.filter((path) => path.startsWith("tests/") && !path.endsWith("tidy.test.mjs"));
  assert.deepEqual(matches(tests, /\b(sleep_for|usleep|nanosleep)\s*\(/), []);
});

test("no test is skipped or switched off", () => {
  const tests = sources.filter((path) => path.startsWith("tests/") && !path.endsWith("tidy.test.mjs"));
  assert.deepEqual(matches(tests, /GTEST_SKIP|DISABLED_|\b(it|test|describe)\.(skip|todo|only)\b|skip: true/), []);
});

test("nothing unfinished is left behind", () => {
  const product = sources.filter((path) => !path.endsWith("tidy.test.mjs"));
  assert.deepEqual(matches(product, /\b(TODO|FIXME|XXX)\b(?!\(#\d+\))/), []);
});

test("exceptions are not swallowed silently", () => {
  assert.deepEqual(matches(cpp, /catch \(\.\.\.\) *\{ *\}/), []);
});

test("every error code has a page, and every page a code", () => {
  const header = read("base/include/sequential/base/error.h");
  const body = header.slice(header.indexOf("enum class Errc {"), header.indexOf("};", header.indexOf("enum class Errc {")));
  const codes = [...body.matchAll(/^\s+([a-z_]+),/gm)].map((match) => match[1]).sort();
  const pages = tracked.filter((path) => /^docs\/errors\/\w+\.md$/.test(path)).map((path) => path.slice(12, -3)).sort();
  assert.deepEqual(pages, codes);
});

test("every C++ source belongs to a target", () => {
  const lists = tracked.filter((path) => /CMakeLists\.txt$|\.cmake$/.test(path)).map(read).join("\n");
  const stray = cpp.filter((path) => path.endsWith(".cpp") && !lists.includes(path.split("/").pop().replace(/(_fuzz)?\.cpp$/, "")));
  assert.deepEqual(stray, []);
});

test("every module says what it is for", () => {
  const modules = ["base", "storage", "engine", "services", "config", "server", "cli", "migrations", "bench", "taskcode"];
  assert.deepEqual(modules.filter((folder) => !existsSync(join(root, folder, "README.md"))), []);
});

test("links in documents lead somewhere", () => {
  const broken = [];
  for (const path of tracked.filter((name) => name.endsWith(".md"))) {
    for (const [, target] of read(path).matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)[^)]*\)/g)) {
      if (!existsSync(join(root, dirname(path), target))) broken.push(`${path}: ${target}`);
    }
  }
  assert.deepEqual(broken, []);
});
