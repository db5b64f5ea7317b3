// Runs one service of a compose file as a container engine would: its own mount, pid, net, ipc and uts namespaces, the image
// under a layer of its own, secrets and volumes mounted, the user and capabilities of the file, an address on the bridge.
import { spawn } from "node:child_process";
import { chownSync, cpSync, existsSync, mkdirSync, openSync, readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { milliseconds } from "./compose.mjs";
import { Hopeless, quote, run, say, tailOf, until } from "./shell.mjs";

// What Docker leaves to a container of which nothing is dropped.
const DEFAULT_CAPABILITIES = ["chown", "dac_override", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap",
  "net_bind_service", "net_raw", "sys_chroot", "mknod", "audit_write", "setfcap"];
const BRIDGE = "compose0";
const STARTED_MS = 10_000;
const DEVICES = ["null", "zero", "full", "random", "urandom", "tty"];

export async function makeNetwork(subnet) {
  const gateway = subnet.replace(/\.0\/(\d+)$/, ".1/$1");
  // An address of its own: otherwise it changes when a container goes, and those that remain send to the old one for a while.
  for (const line of ["link set lo up", `link add ${BRIDGE} address 02:42:00:00:00:01 type bridge`, `addr add ${gateway} dev ${BRIDGE}`,
    `link set ${BRIDGE} up`]) {
    await run("ip", line.split(" "));
  }
  return { bits: subnet.split("/")[1] };
}

export class Container {
  /** @param {object} service of compose.plan; `image` of buildImage; `hosts`: [name, address] of all services */
  constructor(service, image, { work, hosts, network, index }) {
    Object.assign(this, { service, image, work, hosts, network, index });
    this.name = service.name;
    this.log = join(work, "logs", `${service.name}.log`);
    this.folder = join(work, "containers", service.name);
    this.root = join(this.folder, "root");
    this.env = { ...image.env, ...service.environment };
    this.starts = 0;
  }

  async start() {
    this.starts += 1;
    for (const part of ["root", "layer"]) mkdirSync(join(this.folder, part), { recursive: true });
    for (const mount of this.service.mounts) if (mount.kind === "volume") this.#fillVolume(mount);
    const path = join(this.folder, "start.sh");
    writeFileSync(path, `#!/bin/bash\nset -euo pipefail\n${this.#script().join("\n")}\n`, { mode: 0o755 });
    const log = openSync(this.log, "a");
    this.child = spawn("unshare", ["--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child=KILL", "bash", path],
      { stdio: ["pipe", log, log] });
    this.exited = new Promise((resolve) => { this.child.on("exit", (code, signal) => resolve({ code, signal })); });
    this.running = true;
    this.exited.then(() => { this.running = false; });
    // The script waits for a line, so that the network is there before the program is.
    this.pid = await until(`${this.name}'s first process`, () => this.#firstProcess(), STARTED_MS);
    await this.#connect().catch((error) => { throw new Error(`${this.name}: ${error.message}\n${tailOf(this.log)}`); });
    this.child.stdin.end("go\n");
  }

  #firstProcess() {
    if (!this.running) throw new Hopeless(`${this.name} ended\n${tailOf(this.log)}`);
    const [pid] = readFileSync(`/proc/${this.child.pid}/task/${this.child.pid}/children`, "utf8").trim().split(" ");
    return Number(pid) || undefined;
  }

  async #connect() {
    const outside = `veth${this.index}s${this.starts}`;
    const { address } = this.service;
    await run("ip", ["link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", String(this.pid)]);
    await run("ip", ["link", "set", outside, "master", BRIDGE, "up"]);
    for (const line of [`addr add ${address}/${this.network.bits} dev eth0`, "link set eth0 up", "link set lo up"]) {
      await run("nsenter", ["--target", String(this.pid), "--net", "ip", ...line.split(" ")]);
    }
  }

  /** A new volume begins as what the image has at its place, with owner and mode. */
  #fillVolume(mount) {
    const folder = join(this.work, "volumes", mount.source);
    if (existsSync(folder)) return;
    const model = join(this.image.root, mount.target);
    mkdirSync(folder, { recursive: true });
    if (!existsSync(model)) return;
    cpSync(model, folder, { recursive: true });
    const { uid, gid, mode } = statSync(model);
    chownSync(folder, uid, gid);
    this.volumeMode = mode & 0o7777;
  }

  #script() {
    const { service, root, folder } = this;
    const lines = [
      `root=${quote(root)} layer=${quote(join(folder, "layer"))}`,
      "mount --make-rprivate /",
      "mount -t tmpfs tmpfs $layer && mkdir $layer/upper $layer/work",
      `mount -t overlay overlay -o lowerdir=${quote(this.image.root)},upperdir=$layer/upper,workdir=$layer/work $root`,
      "mount -t proc proc $root/proc",
      "mount -t sysfs -o ro sysfs $root/sys",
      "mount -t tmpfs -o mode=755 tmpfs $root/dev && mkdir $root/dev/shm",
      `for device in ${DEVICES.join(" ")}; do touch $root/dev/$device; mount --bind /dev/$device $root/dev/$device; done`,
      "ln -s /proc/self/fd $root/dev/fd",
      "for i in 0 1 2; do set -- stdin stdout stderr; shift $i; ln -s /proc/self/fd/$i $root/dev/$1; done",
      `mount -t tmpfs -o mode=1777,size=${service.shmSize.replace(/b$/, "")} tmpfs $root/dev/shm`,
      `printf '%s\\n' ${this.hosts.map(([name, address]) => quote(`${address} ${name}`)).join(" ")} '127.0.0.1 localhost' >$root/etc/hosts`,
      "rm -f $root/etc/resolv.conf && : >$root/etc/resolv.conf",
      `hostname ${quote(this.name)}`,
    ];
    for (const path of service.tmpfs) lines.push(`mkdir -p $root${path}`, `mount -t tmpfs -o mode=1777 tmpfs $root${path}`);
    for (const mount of service.mounts) lines.push(...this.#mountLines(mount));
    if (service.readOnly) lines.push("mount -o remount,ro $root");
    // As far as this machine allows.
    if (service.files) lines.push(`ulimit -n ${service.files} 2>/dev/null || ulimit -n "$(ulimit -Hn)"`);
    lines.push("read -r go", "[ \"$go\" = go ]", ...this.#processLines());
    return lines;
  }

  #mountLines({ kind, source, target, readOnly }) {
    const from = quote(kind === "volume" ? join(this.work, "volumes", source) : source);
    const to = `$root${target}`;
    const place = kind === "volume" ? `mkdir -p ${to}` : `mkdir -p $(dirname ${to}) && touch ${to}`;
    const mode = kind === "volume" && this.volumeMode ? [`chmod ${this.volumeMode.toString(8)} ${from}`] : [];
    const lines = [...mode, place, `mount --bind ${from} ${to}`];
    if (readOnly) lines.push(`mount -o remount,ro,bind ${to}`);
    return lines;
  }

  /** How a process gets into the container's root, user, rights and environment. */
  #enter() {
    const { service, image } = this;
    const [user, group] = (service.user ?? image.user).split(":");
    const kept = service.dropAll ? [] : DEFAULT_CAPABILITIES;
    const words = ["setpriv", "--reuid", user, "--regid", group ?? user, "--clear-groups",
      `--bounding-set=${["-all", ...kept.map((one) => `+${one}`)].join(",")}`, "--inh-caps=-all"];
    if (service.noNewPrivileges) words.push("--no-new-privs");
    const env = Object.entries({ HOME: "/", ...this.env }).map(([name, value]) => `${name}=${value}`);
    return [...words, "env", "-i", ...env, "sh", "-c", "cd \"$0\" && exec \"$@\"", image.workdir];
  }

  #processLines() {
    const { service, image } = this;
    const [user, group] = (service.user ?? image.user).split(":");
    const words = ["chroot", this.root, ...this.#enter(), ...image.entrypoint, ...(service.command ?? image.cmd)];
    // The program may open its output again by name, so it must be its own, as with an engine's pipes.
    const lines = [`chown ${user}:${group ?? user} ${quote(this.log)}`, "exec </dev/null"];
    if (!service.init) return [...lines, `exec ${words.map(quote).join(" ")}`];
    // A little init, as tini: passes signals on, reaps, ends with the program's status.
    return [...lines, `${words.map(quote).join(" ")} &`, "program=$!",
      "trap 'kill -TERM $program' TERM", "status=0", "wait $program || status=$?",
      "while kill -0 $program 2>/dev/null; do status=0; wait $program || status=$?; done", "exit $status"];
  }

  /** Runs a command inside, as `docker compose exec` does. */
  async exec(words, ms = 10_000) {
    const target = ["--target", String(this.pid), "--mount", "--uts", "--ipc", "--net", "--pid"];
    return run("nsenter", [...target, "chroot", this.root, ...this.#enter(), ...words], { ms });
  }

  /** Waits until the health check of the compose file or of the image passes. */
  async healthy() {
    const check = this.service.healthcheck ?? this.image.healthcheck;
    if (!check) throw new Error(`${this.name} has no health check`);
    const [form, ...words] = check.test;
    if (form !== "CMD") throw new Error(`${this.name}: a health check by ${form} is not known`);
    const ms = milliseconds(check.start_period) + check.retries * milliseconds(check.interval);
    await until(`${this.name} to be healthy`, async () => {
      if (!this.running) throw new Hopeless(`${this.name} ended\n${tailOf(this.log)}`);
      await this.exec(words, milliseconds(check.timeout));
      return true;
    }, ms);
    say(`${this.name} is healthy at ${this.service.address}`);
  }

  /** SIGKILL to its first process: the kernel ends all others of its pid namespace. */
  async kill() {
    process.kill(this.pid, "SIGKILL");
    await this.exited;
  }

  async stop() {
    if (!this.running) return this.exited;
    process.kill(this.pid, this.service.stopSignal ?? this.image.stopSignal);
    const timer = setTimeout(() => { this.late = true; this.child.kill("SIGKILL"); }, this.service.stopMs);
    const how = await this.exited;
    clearTimeout(timer);
    return how;
  }

  /** Names of the programs that run inside. */
  processes() {
    const proc = `/proc/${this.pid}/root${this.root}/proc`;
    return readdirSync(proc).filter((name) => /^\d+$/.test(name)).map((pid) => readFileSync(`${proc}/${pid}/comm`, "utf8").trim());
  }
}
