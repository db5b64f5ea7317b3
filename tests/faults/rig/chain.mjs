// The chain of nodes that are told to send it elsewhere: through a proxy that hands hints to any node, as a load balancer does,
// and that loses, doubles, delays and reorders them by its mood. And people, who ask nodes by hand to process something: what a
// node signed is answered before it is done, so what became of it only they are told.
import { setTimeout as pause } from "node:timers/promises";
import { openChainProxy } from "../../support/js/proxy.mjs";

const BY_HAND_SHARE = 0.3;        // of hints that are sent on as a person would
const TWICE_BY_HAND_SHARE = 0.3;  // of those, again when the node may just have begun
const AGAIN_MS = [0, 12];
const REPORTED = ["fenced", "busy", "not_runnable", "no_free_slot", "replaying"];
const DELAY_MS = [50, 3_000];
const REORDER_MAX = 8;
const BY_HAND_MS = 30_000;

export async function openRigChain(world, random) {
  const proxy = await openChainProxy();
  const held = [];
  const chain = {
    url: proxy.url,
    mood: undefined,
    hints: 0,
    heal() {
      chain.mood = undefined;
      for (const send of held.splice(0).reverse()) send();
    },
    close: () => proxy.close(),
  };

  async function pass(hint, forward) {
    const nodes = world.nodes.filter((node) => node.url);
    if (nodes.length === 0) return;
    const node = random.pick(nodes);
    if (random.chance(BY_HAND_SHARE)) {
      const asked = () => chain.byHand(node, JSON.parse(hint.body));
      const again = async () => {
        await pause(random.between(...AGAIN_MS));
        await asked();
      };
      await (random.chance(TWICE_BY_HAND_SHARE) ? Promise.all([asked(), again()]) : asked());
    } else {
      proxy.target = node.url;
      await forward(hint);
    }
  }

  /** Asks the node to process that stack run, or whichever comes next; until it says what became of it. */
  chain.byHand = async (node, body = {}) => {
    const answer = await node.request("POST", "/stack/process", { json: body, headers: { prefer: "wait" }, timeoutMs: BY_HAND_MS })
      .catch(() => undefined);
    if (answer?.status !== 200) return;
    const { status } = answer.json().data;
    if (REPORTED.includes(status)) world.branch(`a hint was answered ${status}`);
  };

  proxy.treat = async (hint, forward) => {
    chain.hints += 1;
    proxy.captured.length = 0;
    world.insistNoSecretIn(JSON.stringify(hint), "a hint");
    const send = () => pass(hint, forward);
    if (chain.mood === "drop" && random.chance(0.8)) return undefined;
    if (chain.mood === "double") return Promise.all([send(), send(), random.chance(0.3) ? send() : undefined]);
    if (chain.mood === "delay" && random.chance(0.6)) {
      setTimeout(() => world.spawn(send()), random.between(...DELAY_MS)).unref();
      return undefined;
    }
    if (chain.mood === "reorder") {
      held.push(() => world.spawn(send()));
      if (held.length >= REORDER_MAX) chain.reorder();
      return undefined;
    }
    return send();
  };
  chain.reorder = () => {
    for (const send of held.splice(0).sort(() => random.next() - 0.5)) send();
  };
  return chain;
}
