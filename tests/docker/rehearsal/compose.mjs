// Reads a compose file as the engine would: variables, merges, defaults. What this does not know is an error.
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { parse } from "yaml";

const KNOWN = new Set(["build", "cap_drop", "command", "depends_on", "environment", "healthcheck", "image", "init", "networks",
  "ports", "read_only", "restart", "secrets", "security_opt", "shm_size", "stop_grace_period", "stop_signal", "tmpfs",
  "ulimits", "user", "volumes"]);

/** `${NAME:-default}`, `${NAME}`, `$$`; a variable that is neither set nor has a default is an error. */
export function interpolate(text, variables) {
  return text.replace(/\$(?:\$|\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})/g, (whole, name, fallback) => {
    if (whole === "$$") return "$";
    if (variables[name]) return variables[name];
    if (fallback === undefined) throw new Error(`the variable ${name} is not set and has no default`);
    return fallback;
  });
}

export function readEnvFile(path) {
  if (!existsSync(path)) return {};
  const lines = readFileSync(path, "utf8").split("\n").filter((line) => /^[A-Za-z_]\w*=/.test(line));
  return Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1).trim()]));
}

/** Values only: a `$` in a comment is nobody's variable. */
function interpolateAll(value, variables) {
  if (typeof value === "string") return interpolate(value, variables);
  if (Array.isArray(value)) return value.map((entry) => interpolateAll(entry, variables));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, interpolateAll(entry, variables)]));
}

/** The file with its variables replaced, as plain objects. */
export function loadCompose(path, variables = readEnvFile(join(dirname(path), ".env"))) {
  return interpolateAll(parse(readFileSync(path, "utf8"), { merge: true }), variables);
}

export function milliseconds(duration) {
  const match = /^(\d+)(ms|s|m)$/.exec(duration);
  if (!match) throw new Error(`not a duration: ${duration}`);
  return Number(match[1]) * { ms: 1, s: 1_000, m: 60_000 }[match[2]];
}

/** Services in the order of their dependencies, each with everything that is needed to run it. */
export function plan(path) {
  const folder = dirname(path);
  const file = loadCompose(path);
  const services = Object.entries(file.services).map(([name, service]) => planService(name, service, file, folder));
  const ordered = [];
  const visit = (service, above) => {
    if (above.includes(service.name)) throw new Error(`services wait for each other: ${above.join(" → ")}`);
    if (ordered.includes(service)) return;
    for (const { name } of service.dependsOn) visit(services.find((one) => one.name === name), [...above, service.name]);
    ordered.push(service);
  };
  services.forEach((service) => visit(service, []));
  const subnet = Object.values(file.networks ?? {}).map((network) => network.ipam.config[0].subnet)[0] ?? "172.30.78.0/24";
  return { name: file.name, services: giveAddresses(ordered, subnet), subnet };
}

function giveAddresses(services, subnet) {
  const prefix = subnet.split(".").slice(0, 3).join(".");
  return services.map((service, index) => ({ ...service, address: service.address ?? `${prefix}.${100 + index}` }));
}

function planService(name, service, file, folder) {
  for (const key of Object.keys(service)) {
    if (!KNOWN.has(key)) throw new Error(`service ${name}: the rehearsal does not know ${key}`);
  }
  return {
    name,
    image: service.image,
    build: service.build && {
      context: resolve(folder, service.build.context),
      dockerfile: resolve(folder, service.build.context, service.build.dockerfile),
    },
    user: service.user,
    environment: Object.fromEntries(Object.entries(service.environment ?? {}).map(([key, value]) => [key, String(value)])),
    command: service.command,
    healthcheck: service.healthcheck,
    dependsOn: Object.entries(service.depends_on ?? {}).map(([other, { condition }]) => ({ name: other, condition })),
    init: service.init ?? false,
    readOnly: service.read_only ?? false,
    dropAll: (service.cap_drop ?? []).includes("ALL"),
    noNewPrivileges: (service.security_opt ?? []).includes("no-new-privileges:true"),
    tmpfs: service.tmpfs ?? [],
    shmSize: service.shm_size ?? "64mb",
    files: service.ulimits?.nofile,
    stopSignal: service.stop_signal,
    stopMs: milliseconds(service.stop_grace_period ?? "10s"),
    address: Object.values(service.networks ?? {})[0]?.ipv4_address,
    ports: (service.ports ?? []).map(publishedPort),
    mounts: [
      ...(service.volumes ?? []).map((text) => mountOf(text, file, folder)),
      ...(service.secrets ?? []).map((secret) => secretOf(secret, file, folder)),
    ],
  };
}

function publishedPort(text) {
  const [, address, host, container] = /^([\d.]+):(\d+):(\d+)$/.exec(text) ?? [];
  if (!container) throw new Error(`not ADDRESS:PORT:PORT: ${text}`);
  return { address, host: Number(host), container: Number(container) };
}

function mountOf(text, file, folder) {
  const [source, target, mode] = text.split(":");
  if (source.startsWith(".")) return { kind: "file", source: resolve(folder, source), target, readOnly: mode === "ro" };
  if (!(source in (file.volumes ?? {}))) throw new Error(`the volume ${source} is not declared`);
  return { kind: "volume", source, target, readOnly: mode === "ro" };
}

function secretOf(name, file, folder) {
  const source = file.secrets?.[name]?.file;
  if (!source) throw new Error(`the secret ${name} is not declared with a file`);
  return { kind: "file", source: resolve(folder, source), target: `/run/secrets/${name}`, readOnly: true };
}
