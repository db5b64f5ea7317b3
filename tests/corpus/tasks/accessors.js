// Accessors, property attributes, prototypes and the order of keys, changed between calls.
module.exports = async function () {
  const log = [];
  const lazy = {
    get value() {
      log.push("computed");
      const promise = call("computed once", { n: 1 });
      Object.defineProperty(this, "value", { value: promise, enumerable: true });
      return promise;
    },
  };
  const [one, two] = await Promise.all([lazy.value, lazy.value]);
  one.n += 1;
  const settings = Object.create({ inherited: 1, get all() { return Object.keys(this).join(); } },
    { fixed: { value: 1 }, open: { value: 2, writable: true, enumerable: true } });
  settings[2] = settings[1] = settings.b = settings.a = await call("assigned", "v");
  const refused = await (async () => { "use strict"; await call("strict"); settings.fixed = 2; })().catch((error) => error.name);
  settings.fixed = 3;  // silently nothing in sloppy code
  const sealed = Object.seal({ a: 1 });
  const frozen = Object.freeze([1, [2]]);
  await call("sealed and frozen");
  sealed.a = 2;
  sealed.b = 3;
  frozen[1].push(3);
  const pushed = (() => { try { frozen.push(4); } catch (error) { return error.name; } })();
  Object.setPrototypeOf(settings, { get all() { return "another prototype"; } });
  const forIn = [];
  for (const key in Object.create({ p: 1, q: 1 }, { q: { value: 1 }, r: { value: 1, enumerable: true } })) forIn.push(key);
  const grouped = { __proto__: null, x: 1 };
  return {
    log, same: one === two, n: (await lazy.value).n, keys: Object.keys(settings), all: settings.all,
    inherited: settings.inherited ?? "gone", refused, fixed: settings.fixed,
    sealed, frozen, pushed, descriptor: Object.getOwnPropertyDescriptor(settings, "fixed"),
    bare: ["toString" in grouped, `${Object.keys(grouped)}`],
    forIn,
  };
};
