// structuredClone: cycles, shared parts, Map, Set, Date, RegExp, errors, bytes, holes; what cannot be cloned says so.
module.exports = async function () {
  const shared = { shared: true };
  const original = {
    list: [1, , 3], when: new Date(86_400_000), pattern: /a+/gi, map: new Map([[shared, new Set([shared, "x"])]]), big: 10n ** 20n,
    bytes: new Uint8Array([1, 2, 3]).subarray(1), error: new RangeError("cloned", { cause: "c" }), boxed: Object("text"),
    nothing: undefined, zero: -0,
    get computed() { return "plain after cloning"; },
  };
  original.self = original;
  original.list.push(original.list);
  original.pattern.lastIndex = 2;
  await call("before cloning");
  const copy = structuredClone(original);
  original.map.clear();
  original.bytes[0] = 99;
  await call("the copy lives on");
  const [key] = copy.map.keys();
  const refused = [() => 1, Symbol("s"), new WeakMap(), Promise.resolve()].map((value) => {
    try {
      return structuredClone({ value });
    } catch (error) {
      return [error.name, error instanceof DOMException];
    }
  });
  return {
    cycles: [copy.self === copy, copy.list[3] === copy.list, copy !== original], holes: [1 in copy.list, copy.list.length],
    shared: [copy.map.get(key).has(key), key !== shared, copy.map.size],
    kinds: [copy.when.toISOString(), copy.pattern.flags, copy.pattern.lastIndex, String(copy.big)],
    bytes: [...copy.bytes], buffer: copy.bytes.buffer.byteLength, error: [copy.error instanceof RangeError, copy.error.message],
    rest: [typeof copy.boxed, "nothing" in copy, Object.is(copy.zero, -0), Object.getOwnPropertyDescriptor(copy, "computed").value],
    refused,
  };
};
