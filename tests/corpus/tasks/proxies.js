// Proxy and Reflect: traps that keep a log across calls, a revoked proxy, a proxy in a prototype chain, a receiver.
module.exports = async function () {
  const log = [];
  const names = ["get", "set", "has", "deleteProperty", "ownKeys", "getOwnPropertyDescriptor", "defineProperty"];
  const traps = Object.fromEntries(names.map((trap) =>
    [trap, (target, key, ...rest) => {
      if (key !== "then") log.push(`${trap} ${typeof key === "symbol" ? String(key.description) : key ?? ""}`.trim());
      return Reflect[trap](target, ...key === undefined ? [] : [key], ...rest);
    }]));
  const target = { a: 1, get self() { return this; } };
  const proxy = new Proxy(target, traps);
  proxy.b = await call("value", 2);
  const isSelf = proxy.self === proxy;
  await call("the proxy waits");
  const keys = Object.keys({ ...proxy });
  delete proxy.a;
  const child = Object.create(proxy);
  const inherited = ["b" in child, child.b, child.none];
  const { proxy: revocable, revoke } = Proxy.revocable(function f(n) { return call("through a proxy", n); }, {
    apply: (f, self, [n]) => Reflect.apply(f, self, [n * 2]), construct: (f, args) => ({ made: args }),
  });
  const applied = await revocable(21);
  const made = new revocable(1, 2);
  const gone = await (async () => { revoke(); await call("revoked"); return revocable(1); })().catch((error) => error.name);
  const awaited = await new Proxy({ n: 1 }, traps);
  return {
    log, isSelf, keys, inherited, applied, made, gone, awaited: awaited.n, ownKeys: Reflect.ownKeys(target),
    reflect: [Reflect.construct(Date, [0], Array) instanceof Array, Reflect.getPrototypeOf(proxy) === Object.prototype,
      Reflect.defineProperty(Object.freeze({}), "x", { value: 1 })],
  };
};
