// Inheritance: super in async methods and arrows, before and after suspensions; constructors; accessors; mixins; new.target.
class Base {
  constructor(name) {
    this.name = name;
    this.kind = new.target.name;
  }
  async describe(label) { return `${this.kind} ${await call(label, this.name)}`; }
  get level() { return 1; }
  static async create(label, ...more) { return new this(await call(label, label), ...more); }
}
const Loud = (Super) => class extends Super {
  async describe(label) {
    const whisper = async () => (await super.describe(label)).toUpperCase();
    await call(`${label}, loudly`);
    return `${await whisper()}!`;
  }
  get level() { return super.level + 10; }
};
class Middle extends Loud(Base) {
  constructor(name, extra) {
    super(`<${name}>`);
    this.extra = extra;
  }
  get level() { return super.level + 100; }
}
class Leaf extends Middle {
  static async create(label, extra) {
    const made = await super.create(`${label}, by super`, extra);
    made.late = true;
    return made;
  }
  async describe(label) {
    const first = await super.describe(label);
    super.mark = first.length;  // lands on this
    return [first, this.mark, super.level, super.toString === Object.prototype.toString];
  }
}
const plain = { greet() { return "plain"; } };
const derived = { __proto__: plain, async greet(label) { await call(label); return `derived of ${super.greet()}`; } };

module.exports = async function () {
  const leaf = await Leaf.create("make", [1, 2]);
  const described = await leaf.describe("describe");
  class Stack extends Array { async pushLater(label) { this.push(await call(label, this.length)); return this; } }
  const stack = await Stack.of(5, 6).pushLater("stack");
  return {
    leaf, described, greeting: await derived.greet("greet"), chain: [leaf instanceof Base, leaf.constructor.name, leaf.level],
    stack: [stack.length, stack.map((n) => n + 1) instanceof Stack, [...stack]],
  };
};
