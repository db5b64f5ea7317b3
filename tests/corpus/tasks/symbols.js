// Symbols across calls: registered and not, the well-known ones as hooks, as keys, in conversions that happen after a suspension.
const hidden = Symbol("hidden");
class Temperature {
  static [Symbol.hasInstance](value) { return typeof value?.degrees === "number"; }
  constructor(degrees) { this.degrees = degrees; this[hidden] = "unseen"; }
  [Symbol.toPrimitive](hint) {
    if (hint === "number") return this.degrees;
    return hint === "string" ? `${this.degrees}°` : `default ${this.degrees}`;
  }
  get [Symbol.toStringTag]() { return "Temperature"; }
}
class Doubling extends Array {
  static get [Symbol.species]() { return Array; }
}
module.exports = async function () {
  const warm = new Temperature(await call("degrees", 21));
  const registered = Symbol.for("registered");
  await call("symbols wait", { [hidden]: 1, seen: true });
  const spreadable = { length: 2, 0: "a", 1: "b", [Symbol.isConcatSpreadable]: true };
  const splitter = {
    [Symbol.split]: (text, limit) => [text.length, limit ?? null],
    [Symbol.replace]: (text, by) => `${by}${text}`, [Symbol.match]: () => ["m"],
  };
  const counted = {
    * [Symbol.iterator]() { yield* [1, 2]; },
    async * [Symbol.asyncIterator]() { yield await call("preferred", "async"); },
  };
  const chosen = [];
  for await (const value of counted) chosen.push(value);
  await call("conversions");
  const doubling = Doubling.from([1, 2]);
  return {
    converted: [+warm, `${warm}`, warm + "", warm * 2, warm > 20, warm == "default 21"], tag: String(Object.prototype.toString.call(warm)),
    is: [{ degrees: 1 } instanceof Temperature, {} instanceof Temperature, Symbol.for("registered") === registered,
      Symbol.keyFor(registered), Symbol("x") === Symbol("x")],
    keys: [Object.keys(warm), Reflect.ownKeys(warm).map(String), JSON.stringify(warm), hidden in { ...warm }],
    description: [hidden.description, Symbol().description ?? "none"],
    hooks: [[].concat(spreadable, [3]), "text".split(splitter), "text".replace(splitter, "by "), "text".match(splitter)], chosen,
    species: [doubling instanceof Doubling, doubling.map((n) => n) instanceof Doubling],
    unscoped: Object.keys(Array.prototype[Symbol.unscopables]).includes("flat"),
  };
};
