// Classes: private fields, methods and accessors, static blocks, brand checks, fields made of earlier ones, computed names.
const registry = [];
class Account {
  static #made = 0;
  static limits = { low: 1 };
  static {
    registry.push("first block");
    this.limits.high = this.limits.low * 100;
  }
  static names = Object.keys(this.limits);
  static { registry.push(this.names.join()); }

  #balance = 0;
  #history = [];
  name = `account ${++Account.#made}`;
  upper = this.name.toUpperCase();
  ["key-" + registry.length] = true;

  static async open(label, amount) {
    const account = new this();
    await account.#deposit(label, amount);
    return account;
  }
  static isAccount(value) { return #balance in value; }
  async #deposit(label, amount) {
    this.#balance += await call(label, amount);
    this.#history.push(label);
  }
  async deposit(label, amount) { await this.#deposit(label, amount); return this; }
  get balance() { return this.#balance; }
  set balance(value) { this.#balance = Math.min(value, Account.limits.high); }
  get #last() { return this.#history.at(-1); }
  set #last(label) { this.#history[this.#history.length - 1] = label; }
  async rename(label) { this.#last = await call(label, `${this.#last}!`); }
  get history() { return [...this.#history]; }
  static get made() { return this.#made; }
}

module.exports = async function () {
  const a = await Account.open("open a", 5);
  const b = await Account.open("open b", 7);
  await Promise.all([a.deposit("more a", 10), b.rename("rename b")]);
  b.balance += 500;
  let refused;
  try {
    await call("before the brand check");
    await Account.prototype.rename.call({ name: "no account" }, "y");
  } catch (error) {
    refused = error.name;
  }
  return {
    registry, made: Account.made, refused, keys: Object.keys(a), is: [Account.isAccount(a), Account.isAccount({})],
    a: [a.balance, a.history, a.upper], b: [b.balance, b.history, b.name],
  };
};
