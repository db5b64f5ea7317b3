// ?. ?? ??= &&= ||= with calls on either side: what is not needed is not evaluated.
module.exports = async function () {
  const log = [];
  const note = async (label, value) => { log.push(label); return call(label, value); };
  const user = { name: "n", address: null, tags: { first: "t" }, greet(word) { return `${word} ${this.name}`; } };
  const out = [
    (await note("null", null))?.[await note("never 1")]?.deeper.still,
    user.address?.street[await note("never 2")],
    user.tags?.[await note("key", "first")],
    user.greet?.(await note("argument", "hello")),
    user.missing?.(await note("never 3")) ?? "no such method",
    user.address?.street ?? await note("fallback", "nowhere"),
    0 ?? await note("never 4"), "" || await note("empty", "filled"), null && await note("never 5"),
  ];
  user.cached ??= await note("computed", [1]);
  user.cached ??= await note("never 6");
  user.name &&= `${user.name}!`;
  user.none ||= user.none === undefined && "set";
  delete user?.tags?.first;
  return { log, out: out.map((value) => value ?? String(value)), user };
};
