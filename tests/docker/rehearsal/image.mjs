// Executes a Dockerfile: every stage a folder with a whole Debian, every RUN a chroot in namespaces of its own.
import { cpSync, existsSync, lchownSync, lstatSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join, relative, resolve } from "node:path";
import dockerignore from "@balena/dockerignore";
import { commandWords, healthcheckOf, keyValues, readDockerfile } from "./dockerfile.mjs";
import { quote, run, say, script } from "./shell.mjs";

const DEBIAN = "debian:12-slim";
const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const RUN_MS = 90 * 60_000;
const UNPACK_MS = 10 * 60_000;
const COMPILES = /\bcmake\b|scripts\/setup\.sh/;
const PROGRAMS = ["sequential-runner", "sequential-engine", "sequential-engine.base"];

/** The root that stands for debian:12-slim: unpacked from a tarball, or made by debootstrap. */
export async function makeBase(work, tarball) {
  const root = join(work, "base");
  const log = join(work, "logs", "base.log");
  mkdirSync(root);
  if (tarball) {
    say(`unpacking ${basename(tarball)}`);
    await run("tar", ["-C", root, "--numeric-owner", "-xf", tarball], { log, ms: UNPACK_MS });
  } else {
    say("debootstrap of Debian 12");
    await run("debootstrap", ["--variant=minbase", "bookworm", root], { log, ms: UNPACK_MS });
  }
  const release = readFileSync(join(root, "etc/os-release"), "utf8");
  if (!/^VERSION_ID="?12"?$/m.test(release)) throw new Error("the root is not Debian 12");
  // As in Debian's image: installing a service does not start it.
  writeFileSync(join(root, "usr/sbin/policy-rc.d"), "#!/bin/sh\nexit 101\n", { mode: 0o755 });
  return root;
}

/** What `COPY .` would see: the context without what .dockerignore names, copied. */
export function copyContext(context, target) {
  const rules = join(context, ".dockerignore");
  const filter = dockerignore().add(existsSync(rules) ? readFileSync(rules, "utf8") : "");
  cpSync(context, target, {
    recursive: true,
    filter: (source) => source === context || !filter.ignores(relative(context, source)),
  });
  return target;
}

/** @param {{work, base, context, dockerfile, name, build}} how; build: a folder of finished programs, or nothing */
export async function buildImage(how) {
  const stages = [];
  for (const stage of readDockerfile(how.dockerfile)) {
    stages.push(await buildStage({ ...how, log: join(how.work, "logs", `image-${how.name}.log`) }, stage, stages));
  }
  return stages.at(-1);
}

async function buildStage(how, stage, earlier) {
  const parent = earlier.find(({ name }) => name === stage.from);
  if (!parent && stage.from !== DEBIAN) throw new Error(`FROM ${stage.from}: only ${DEBIAN} and earlier stages are known`);
  const root = join(how.work, "images", `${how.name}-${stage.name}`);
  mkdirSync(dirname(root), { recursive: true });
  await run("cp", ["-a", "--reflink=auto", parent?.root ?? how.base, root], { ms: UNPACK_MS });
  const state = {
    name: stage.name, root, args: {}, env: { PATH, ...parent?.env }, user: parent?.user ?? "0:0", workdir: parent?.workdir ?? "/",
    entrypoint: parent?.entrypoint ?? [], cmd: parent?.cmd ?? [], stopSignal: parent?.stopSignal ?? "SIGTERM",
    healthcheck: parent?.healthcheck,
  };
  for (const step of stage.steps) {
    const started = Date.now();
    const note = await executeStep(how, state, step, earlier);
    const seconds = ((Date.now() - started) / 1000).toFixed(1);
    if (["RUN", "COPY"].includes(step.op)) say(`${how.name}/${stage.name} ${step.op} ${step.text.slice(0, 60)} … ${note ?? `${seconds} s`}`);
  }
  return state;
}

async function executeStep(how, state, step, earlier) {
  switch (step.op) {
    case "RUN": return runStep(how, state, step);
    case "COPY": return copyStep(how, state, step, earlier);
    case "ARG": for (const [name, value] of keyValues(step.text)) state.args[name] = value; break;
    case "ENV": for (const [name, value] of keyValues(step.text)) state.env[name] = value; break;
    case "WORKDIR":
      state.workdir = resolve(state.workdir, step.text);
      mkdirSync(join(state.root, state.workdir), { recursive: true });
      break;
    case "USER": state.user = step.text; break;
    case "STOPSIGNAL": state.stopSignal = step.text; break;
    case "HEALTHCHECK": state.healthcheck = healthcheckOf(step); break;
    case "ENTRYPOINT": state.entrypoint = commandWords(step.text); state.cmd = []; break;
    case "CMD": state.cmd = commandWords(step.text); break;
    default: break;  // EXPOSE and LABEL do nothing
  }
  return undefined;
}

async function runStep(how, state, step) {
  if (how.build && COMPILES.test(step.text)) {
    if (/cmake/.test(step.text)) takePrograms(how.build, join(state.root, state.workdir, "build/release/bin"));
    return "left out (--build)";
  }
  if (state.user !== "0:0") throw new Error(`line ${step.line}: RUN as ${state.user} is not known`);
  const env = Object.entries({ HOME: "/root", ...state.args, ...state.env }).map(([name, value]) => quote(`${name}=${value}`)).join(" ");
  const words = commandWords(step.text).map(quote).join(" ");
  const root = quote(state.root);
  await script(join(how.work, `step-${state.name}-${step.line}.sh`), [
    `root=${root}`,
    "mount -t proc proc $root/proc",
    "mount --rbind /dev $root/dev",
    "mount -t sysfs -o ro sysfs $root/sys",
    "for file in resolv.conf hosts; do touch $root/etc/$file; mount --bind /etc/$file $root/etc/$file; done",
    `exec chroot $root /usr/bin/env -i ${env} /bin/sh -c 'cd "$0" && exec "$@"' ${quote(state.workdir)} ${words}`,
  ], {
    log: how.log, ms: RUN_MS,
    wrapper: ["unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child=KILL"],
  });
  return undefined;
}

function takePrograms(build, target) {
  const found = [join(build, "bin"), build].find((folder) => existsSync(join(folder, PROGRAMS[0])));
  if (!found) throw new Error(`--build ${build}: there is no bin/${PROGRAMS[0]} in it`);
  mkdirSync(target, { recursive: true });
  for (const program of PROGRAMS) cpSync(join(found, program), join(target, program), { preserveTimestamps: true });
}

async function copyStep(how, state, step, earlier) {
  const words = step.text.startsWith("[") ? JSON.parse(step.text) : step.text.split(/\s+/);
  const target = words.pop();
  const from = step.flags.from;
  const origin = from ? earlier.find(({ name }) => name === from)?.root : contextOf(how);
  if (!origin) throw new Error(`line ${step.line}: there is no stage ${from}`);
  const destination = join(state.root, resolve(state.workdir, target));
  const intoFolder = target.endsWith("/") || target === "." || words.length > 1;
  for (const word of words) {
    const source = join(origin, word);
    if (/[*?[]/.test(word)) throw new Error(`line ${step.line}: wildcards are not known`);
    if (!existsSync(source)) throw new Error(`line ${step.line}: COPY finds no ${word}`);
    const folder = lstatSync(source).isDirectory();
    const end = intoFolder && !folder ? join(destination, basename(source)) : destination;
    mkdirSync(dirname(end), { recursive: true });
    cpSync(source, end, { recursive: true, verbatimSymlinks: true, preserveTimestamps: true });
    ownedByRoot(end, folder ? source : undefined);
  }
  return undefined;
}

/** Files that COPY makes belong to root, whoever owned them before. */
function ownedByRoot(path, source) {
  lchownSync(path, 0, 0);
  if (!source) return;
  for (const name of readdirSync(source)) {
    const inner = join(source, name);
    ownedByRoot(join(path, name), lstatSync(inner).isDirectory() ? inner : undefined);
  }
}

function contextOf(how) {
  const target = join(how.work, `context-${how.name}`);
  if (!existsSync(target)) copyContext(how.context, target);
  return target;
}

export function discardStages(work, keep) {
  const folder = join(work, "images");
  for (const name of readdirSync(folder)) {
    if (!keep.includes(join(folder, name))) rmSync(join(folder, name), { recursive: true, force: true });
  }
}
