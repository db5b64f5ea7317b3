// Garbage collection cannot be seen: a WeakRef keeps its target, and a FinalizationRegistry never calls back.
module.exports = async function () {
  const events = [];
  const registry = new FinalizationRegistry((held) => events.push(held));
  const token = {};
  const references = (() => Array.from({ length: 3 }, (_, i) => {
    const target = { i };
    registry.register(target, `gone ${i}`, token);
    return new WeakRef(target);
  }))();
  const garbage = () => { for (let i = 0; i < 20; i++) new Array(100_000).fill({ i }); };
  garbage();
  await call("first");
  garbage();
  await call("second");
  const unregistered = registry.unregister(token);
  return {
    alive: references.map((one) => one.deref().i), events, unregistered,
    tags: [String(references[0]), String(registry)], same: references[0].deref() === references[0].deref(),
  };
};
