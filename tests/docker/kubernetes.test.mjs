// The manifests of docker/kubernetes by Kubernetes' own schemas, and their agreement with the compose file; the systemd unit.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { Deployment } from "kubernetes-models/apps/v1/Deployment";
import { StatefulSet } from "kubernetes-models/apps/v1/StatefulSet";
import { Ingress } from "kubernetes-models/networking.k8s.io/v1/Ingress";
import { NetworkPolicy } from "kubernetes-models/networking.k8s.io/v1/NetworkPolicy";
import { PodDisruptionBudget } from "kubernetes-models/policy/v1/PodDisruptionBudget";
import { Service } from "kubernetes-models/v1/Service";
import { parseAllDocuments } from "yaml";
import { plan } from "./rehearsal/compose.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const folder = join(root, "docker/kubernetes");
const models = { Deployment, StatefulSet, Ingress, NetworkPolicy, PodDisruptionBudget, Service };
// As Kubernetes reads YAML: 0440 is octal there.
const objects = readdirSync(folder).flatMap((name) => (
  parseAllDocuments(readFileSync(join(folder, name), "utf8"), { version: "1.1" }).map((document) => {
    assert.deepEqual(document.errors, [], name);
    return document.toJS();
  })));
const one = (kind, name) => objects.find((object) => object.kind === kind && object.metadata.name === name);
const pods = objects.filter((object) => object.spec.template).map((object) => object.spec);

test("every manifest is valid by its schema", () => {
  assert.deepEqual(objects.map(({ kind }) => kind).sort(),
    ["Deployment", "Ingress", "NetworkPolicy", "PodDisruptionBudget", "Service", "Service", "StatefulSet"]);
  for (const object of objects) new models[object.kind](object).validate();
  assert.throws(() => new Deployment({ ...one("Deployment", "sequential-runner"), spec: { replicas: "2" } }).validate());
});

test("selectors and labels agree, and ports have the names that are asked for", () => {
  for (const { selector, template } of pods) assert.deepEqual(template.metadata.labels, selector.matchLabels);
  for (const { spec, metadata } of objects.filter(({ kind }) => kind === "Service")) {
    assert.ok(pods.some(({ template }) => JSON.stringify(template.metadata.labels) === JSON.stringify(spec.selector)), metadata.name);
  }
  const backend = one("Ingress", "sequential-runner").spec.rules[0].http.paths[0].backend.service;
  assert.ok(one("Service", backend.name).spec.ports.some(({ name }) => name === backend.port.name));
});

test("no pod runs as root or with more rights than it needs", () => {
  for (const { template: { spec } } of pods) {
    assert.equal(spec.securityContext.runAsNonRoot, true);
    assert.equal(spec.securityContext.seccompProfile.type, "RuntimeDefault");
    assert.equal(spec.automountServiceAccountToken, false);
    assert.equal(spec.enableServiceLinks, false);
    for (const container of [...spec.containers, ...(spec.initContainers ?? [])]) {
      assert.equal(container.securityContext.allowPrivilegeEscalation, false);
      assert.deepEqual(container.securityContext.capabilities, { drop: ["ALL"] });
      assert.ok(container.resources.limits.memory && container.resources.requests.memory);
    }
  }
});

test("what is mounted is declared, once", () => {
  for (const { template: { spec }, volumeClaimTemplates = [] } of pods) {
    const declared = [...spec.volumes, ...volumeClaimTemplates.map(({ metadata }) => metadata)].map(({ name }) => name);
    const mounted = [...spec.containers, ...(spec.initContainers ?? [])].flatMap(({ volumeMounts }) => volumeMounts.map(({ name }) => name));
    assert.deepEqual([...new Set(mounted)].sort(), declared.sort());
  }
});

test("the server has the same settings as in the compose file", () => {
  const [server] = one("Deployment", "sequential-runner").spec.template.spec.containers;
  const here = Object.fromEntries(server.env.map(({ name, value }) => [name, value]));
  const { services } = plan(join(root, "docker/docker-compose.yml"));
  for (const [name, value] of Object.entries(services.find(({ name: own }) => own === "node-1").environment)) {
    if (name === "SEQUENTIAL_SERVER_PUBLIC_URL") assert.match(here[name], /^https:/, name);  // each has its own
    else assert.equal(here[name], value, name);
  }
  for (const value of Object.values(here)) assert.equal(typeof value, "string");
});

test("the unit lets the engines do what they do and stops what nobody does", () => {
  const unit = readFileSync(join(root, "docker/systemd/sequential-runner.service"), "utf8");
  const set = Object.fromEntries(unit.split("\n").filter((line) => /^\w+=/.test(line)).map((line) => line.split(/=(.*)/s).slice(0, 2)));
  assert.equal(set.RestrictNamespaces, "user net ipc uts mnt");
  assert.equal(set.NoNewPrivileges, "yes");
  assert.equal(set.ProtectSystem, "strict");
  assert.ok(!("MemoryDenyWriteExecute" in set) && !("ProtectProc" in set) && !("PrivateUsers" in set));
  assert.ok(Number(set.TimeoutStopSec) > 12);
  assert.match(set.ExecStart, /^\/usr\/local\/bin\/sequential-runner serve --config /);
});
