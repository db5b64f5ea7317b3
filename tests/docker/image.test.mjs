// The Dockerfile: structure, what it must not do, and that it installs every library the programs name.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";
import dockerignore from "@balena/dockerignore";
import { validate } from "dockerfile-utils";
import { healthcheckOf, keyValues, parseDockerfile, readDockerfile } from "./rehearsal/dockerfile.mjs";
import { copyContext } from "./rehearsal/image.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const path = join(root, "docker/Dockerfile");
const text = readFileSync(path, "utf8");
const stages = readDockerfile(path);
const runtime = stages.at(-1);
const steps = (op) => runtime.steps.filter((step) => step.op === op);

// Libraries by the stem of their names, which differ in versions only, and Debian 12's packages of them. What comes with
// every Debian root has none.
const PACKAGES = {
  libcurl: "libcurl4", libcrypto: "libssl3", libssl: "libssl3", libsodium: "libsodium23", libsqlite3: "libsqlite3-0",
  libspdlog: "libspdlog1.10", libpqxx: "libpqxx-6.4", libpq: "libpq5", libseccomp: "libseccomp2", libnode: "libnode108",
  libfmt: "libfmt9", libzstd: "libzstd1", libxxhash: "libxxhash0", libnghttp2: "libnghttp2-14", libuv: "libuv1",
  "libprometheus-cpp-core": "libprometheus-cpp-core1.0",
  libabsl_time: "libabsl20220623", libabsl_time_zone: "libabsl20220623", libabsl_strings: "libabsl20220623",
  libabsl_int128: "libabsl20220623", libabsl_base: "libabsl20220623", libabsl_raw_logging_internal: "libabsl20220623",
  libabsl_strings_internal: "libabsl20220623", libabsl_throw_delegate: "libabsl20220623", libabsl_spinlock_wait: "libabsl20220623",
  libabsl_log_severity: "libabsl20220623", libabsl_civil_time: "libabsl20220623", libabsl_bad_variant_access: "libabsl20220623",
  "libstdc++": "", libgcc_s: "", libc: "", libm: "", "ld-linux-x86-64": "", "ld-linux-aarch64": "",
};

test("the Dockerfile has no fault that a linter finds", () => {
  assert.deepEqual(validate(text).map(({ message, range }) => `${range.start.line + 1}: ${message}`), []);
});

test("both stages are Debian 12, and the first builds as quickstart.sh does", () => {
  assert.deepEqual(stages.map(({ from }) => from), ["debian:12-slim", "debian:12-slim"]);
  const commands = stages[0].steps.filter(({ op }) => op === "RUN").map((step) => step.text).join("\n");
  assert.match(commands, /scripts\/setup\.sh/);
  assert.match(commands, /cmake --preset release/);
  assert.match(commands, /--target sequential-runner sequential-engine/);
});

test("the image runs without root, can be stopped and checked, and keeps no compiler", () => {
  assert.match(steps("USER").at(-1).text, /^[1-9]\d*:[1-9]\d*$/, "a number, which Kubernetes can check");
  assert.equal(steps("STOPSIGNAL")[0].text, "SIGTERM");
  assert.deepEqual(healthcheckOf(steps("HEALTHCHECK")[0]).test, ["CMD", "sequential-healthcheck"]);
  assert.deepEqual(steps("ENTRYPOINT").concat(steps("CMD")).map((step) => JSON.parse(step.text)), [["sequential-runner"], ["serve"]]);
  assert.doesNotMatch(steps("RUN").map((step) => step.text).join("\n"), /-dev\b|\bg\+\+|\bcmake\b/);
});

test("its variables are settings and hold no secret", () => {
  const variables = steps("ENV").flatMap((step) => keyValues(step.text));
  assert.ok(variables.length > 0);
  for (const [name, value] of variables) {
    assert.match(name, /^SEQUENTIAL_/);
    if (/TOKEN|KEY|URL/.test(name)) assert.match(value, /^\/run\/secrets\//);
  }
});

test("every library that the programs name is installed in the image", () => {
  const installed = steps("RUN").map((step) => step.text).join(" ").split(/\s+/);
  for (const program of [process.env.SEQUENTIAL_BIN, process.env.SEQUENTIAL_ENGINE]) {
    assert.ok(program, "SEQUENTIAL_BIN and SEQUENTIAL_ENGINE must name the programs");
    const dynamic = execFileSync("readelf", ["--dynamic", program], { encoding: "utf8" });
    const names = [...dynamic.matchAll(/\(NEEDED\).*\[(.+?)\]/g)].map(([, name]) => name);
    assert.ok(names.length > 3);
    for (const name of names) {
      const stem = name.replace(/(-\d+\.[\d.]+)?\.so.*$/, "");
      // Sanitizers are of test builds only.
      if (/^lib[atu]b?san$/.test(stem)) continue;
      assert.ok(stem in PACKAGES, `${program} names ${name}: add its Debian 12 package here and to docker/Dockerfile`);
      if (PACKAGES[stem]) assert.ok(installed.includes(PACKAGES[stem]), `docker/Dockerfile does not install ${PACKAGES[stem]} (${name})`);
    }
  }
});

test("what publish bundles with is in the image, without its twin", () => {
  const commands = steps("RUN").map((step) => step.text).join(" ");
  assert.ok(commands.split(/\s+/).includes("esbuild"), "TypeScript is published from the container too");
  assert.match(commands, /rm -rf [^&]*esbuild-wasm/);
});

test("the build sees the source and neither secrets nor built files", () => {
  const dir = mkdtempSync(join(tmpdir(), "sequential-context-"));
  try {
    const context = join(dir, "context");
    const ignored = ["docker/secrets/api_token", "docker/.env", ".git/config", "build/release/x", "data/sequential.db", "tests/docker/node_modules/a.js"];
    const seen = ["CMakeLists.txt", "docker/healthcheck.sh", "docker/.env.example", "taskcode/endpoints/a.js", "server/src/main.cpp"];
    for (const file of [...ignored, ...seen]) {
      mkdirSync(dirname(join(context, file)), { recursive: true });
      writeFileSync(join(context, file), "x");
    }
    writeFileSync(join(context, ".dockerignore"), readFileSync(join(root, ".dockerignore")));
    const copy = copyContext(context, join(dir, "copy"));
    const list = (folder, prefix = "") => readdirSync(folder).flatMap((name) => (
      statSync(join(folder, name)).isDirectory() ? list(join(folder, name), `${prefix}${name}/`) : [`${prefix}${name}`]));
    assert.deepEqual(list(copy).sort(), [...seen, ".dockerignore"].sort());
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test("the build sees every folder that a module's CMake file names", () => {
  const filter = dockerignore().add(readFileSync(join(root, ".dockerignore"), "utf8"));
  const tracked = execFileSync("git", ["ls-files", "-co", "--exclude-standard"], { cwd: root, encoding: "utf8" }).split("\n");
  // Not the top file, which adds folders only where they exist; the commit comes as an argument, for want of history.
  const lists = tracked.filter((file) => /(CMakeLists\.txt|\.cmake)$/.test(file) && file.includes("/") && !/^(tests|bench)\//.test(file));
  const named = lists.filter((file) => existsSync(join(root, file)))
    .flatMap((file) => [...readFileSync(join(root, file), "utf8").matchAll(/\$\{PROJECT_SOURCE_DIR\}\/([\w./-]+)/g)].map((match) => match[1]))
    .filter((folder) => !/^(build|tests|\.git)\b/.test(folder));
  assert.ok(named.length > 2, `${named}`);
  assert.deepEqual(named.filter((folder) => filter.ignores(folder)), []);
});

test("the reader of Dockerfiles joins lines, keeps flags apart and refuses what it does not know", () => {
  const read = parseDockerfile("FROM a AS b\nRUN one \\\n # not this\n && two\nCOPY --from=b /x/ /y/\nENV A=1 B=\"2 3\"\n");
  assert.deepEqual(read[0].steps.map(({ op, text: words, flags }) => [op, words.replace(/\s+/g, " "), flags]), [
    ["RUN", "one && two", {}], ["COPY", "/x/ /y/", { from: "b" }], ["ENV", "A=1 B=\"2 3\"", {}],
  ]);
  assert.deepEqual(keyValues("A=1 B=\"2 3\""), [["A", "1"], ["B", "2 3"]]);
  assert.throws(() => parseDockerfile("FROM a\nADD x y\n"), /:2: the rehearsal does not know ADD/);
  assert.throws(() => parseDockerfile("FROM a\nCOPY --chmod=1 x y\n"), /--chmod/);
});
