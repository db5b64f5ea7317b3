// The chain of nodes that are told to send it elsewhere: through a proxy that hands hints to any node, as a load balancer does,
// and that loses, doubles, delays and reorders them by its mood.
import { openChainProxy } from "../../support/js/proxy.mjs";

const HINTS_SYNC_SHARE = 0.3;  // of hints that are sent on unsigned, so that the node reports what became of them
const DELAY_MS = [50, 3_000];
const REORDER_MAX = 8;

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
    const sync = random.chance(HINTS_SYNC_SHARE);
    // As a person would who asks by hand: what a node signed is answered before it is done.
    const headers = sync ? { prefer: "wait" } : hint.headers;
    proxy.target = random.pick(nodes).url;
    const answer = await forward({ ...hint, headers });
    if (!sync || answer.status !== 200) return;
    const { status } = answer.json().data;
    if (["fenced", "busy", "not_runnable", "no_free_slot", "replaying"].includes(status)) world.branch(`a hint was answered ${status}`);
  }

  proxy.treat = async (hint, forward) => {
    chain.hints += 1;
    proxy.captured.length = 0;
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
