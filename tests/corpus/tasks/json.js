// JSON there and back through calls: toJSON, replacers, revivers, escapes, numbers at their limits, order of keys, text inside text.
class Money {
  constructor(amount) { this.amount = amount; }
  toJSON(key) { return { $money: this.amount, key }; }
}
module.exports = async function () {
  const value = {
    z: 1, 10: "ten", 9: "nine", a: [1, , undefined, () => 1, Symbol("s"), NaN, -0], price: new Money(5), when: new Date(0),
    nested: { undefined },
    text: "\u0000\u001f\"\\/\u2028é😀\ud800", big: 2 ** 53 + 2, small: 5e-324, large: 1.7976931348623157e308, empty: {}, none: null,
    ["__proto__"]: "own", boxed: [Object(1), Object("s"), Object(false)], map: new Map([[1, 2]]),
  };
  const back = await call("there and back", value);
  const text = await call("as text", JSON.stringify(value, (key, inner) => (key === "text" ? undefined : inner), 1));
  const revived = JSON.parse(text, function (key, inner) {
    if (inner?.$money) return new Money(inner.$money + 1);
    return Array.isArray(this) && inner === null ? "was null" : inner;
  });
  await call("revived", revived);
  const twice = JSON.parse(JSON.parse(await call("twice", JSON.stringify(JSON.stringify({ deep: [back.text] })))));
  const broken = ["{", "[1,]", "01", "'x'", "\"\n\"", "nul", ""].map((one) => {
    try {
      return JSON.parse(one);
    } catch (error) {
      return error.name;
    }
  });
  return {
    back, keys: Object.keys(back), own: Object.hasOwn(back, "__proto__"), price: revived.price instanceof Money && revived.price.amount,
    a: revived.a,
    twice: twice.deep[0] === value.text, broken, spaced: text.split("\n").length, doubled: JSON.parse('{"a":1,"a":2}'),
    listed: JSON.stringify(value, ["z", "nested", "a"]),
    top: [JSON.stringify(undefined) ?? "nothing", JSON.stringify("\ud800"), JSON.stringify([new Date(NaN)])],
  };
};
