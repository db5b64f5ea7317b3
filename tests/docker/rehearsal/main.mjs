// docker/rehearse: makes the images, then runs the containers in a network of their own. See docker/rehearse --help.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { plan } from "./compose.mjs";
import { buildImage, copyContext, discardStages, makeBase } from "./image.mjs";
import { options, run, say } from "./shell.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const repository = resolve(here, "../../..");
const STAND_INS = [["postgres:", "postgres"], ["nginx:", "nginx"]];
// Nobody in particular: somebody who is not root and has no account in the image.
const SOMEBODY = 4321;

const { values: args } = parseArgs({
  options: {
    work: { type: "string" }, root: { type: "string" }, build: { type: "string" }, sqlite: { type: "boolean" },
    keep: { type: "boolean" }, verbose: { type: "boolean" },
  },
});
options.verbose = args.verbose ?? false;
const work = args.work;
for (const folder of ["logs", "images", "containers", "volumes"]) mkdirSync(join(work, folder));

/** The repository as somebody has it who cloned it, with the secrets made as the documentation says. */
async function makeProject() {
  const project = copyContext(repository, join(work, "project"));
  const maker = join(project, "docker/make-secrets.sh");
  if (args.sqlite) {
    // As an ordinary user; the two-node file is rehearsed with secrets made by root.
    await run("chown", ["-R", `${SOMEBODY}:${SOMEBODY}`, join(project, "docker")]);
    await run("setpriv", ["--reuid", SOMEBODY, "--regid", SOMEBODY, "--clear-groups", maker].map(String));
    assert.equal(statSync(join(project, "docker/secrets/keystore_key")).uid, SOMEBODY);
  } else {
    await run(maker, []);
  }
  assert.equal(statSync(join(project, "docker/secrets/keystore_key")).mode & 0o777, 0o400);
  return project;
}

async function makeImages(services) {
  const base = await makeBase(work, args.root && resolve(args.root));
  const made = {};
  for (const service of services) {
    if (service.image in made) continue;
    made[service.image] = service.build
      ? await buildImage({ work, base, name: "runner", build: args.build && resolve(args.build), ...service.build })
      : await standIn(service.image, base);
  }
  discardStages(work, Object.values(made).map(({ root }) => root));
  return made;
}

function standIn(image, base) {
  const name = STAND_INS.find(([prefix]) => image.startsWith(prefix))?.[1];
  if (!name) throw new Error(`nothing here stands for the image ${image}`);
  return buildImage({ work, base, name, context: here, dockerfile: join(here, `${name}.Dockerfile`) });
}

async function main() {
  const started = Date.now();
  const project = await makeProject();
  const compose = join(project, "docker", args.sqlite ? "docker-compose.sqlite.yml" : "docker-compose.yml");
  const images = await makeImages(plan(compose).services);
  say(`images made in ${Math.round((Date.now() - started) / 1000)} s`);

  const state = join(work, "state.json");
  writeFileSync(state, JSON.stringify({ work, project, compose, images, verbose: options.verbose }));
  const scenario = args.sqlite ? "scenario_sqlite.mjs" : "scenario_nodes.mjs";
  const child = spawn("unshare", ["--net", process.execPath, join(here, scenario), state], { stdio: "inherit" });
  const code = await new Promise((done) => { child.on("exit", done); });
  if (code !== 0) throw new Error("the containers did not do what they should");
  say(`rehearsed in ${Math.round((Date.now() - started) / 1000)} s: passed`);
}

main().catch((error) => {
  process.stderr.write(`rehearse: ${error.message}\n`);
  process.exitCode = 1;
}).finally(() => process.exit());  // as the first process of its namespace it takes all others along
