// Destructuring whose defaults, computed keys and targets make calls, in program order and only when they are needed.
module.exports = async function () {
  const log = [];
  const note = async (label, value = label) => { log.push(label); return call(label, value); };
  const { a = await note("default a", 1), b = await note("never"), ...rest } = { b: 2, c: 3, d: { e: [4, 5] } };
  const { [await note("key", "c")]: renamed, d: { e: [, five = 0, six = await note("six", 6)] } } = rest;
  const target = { list: [] };
  [target.x = await note("never 2"), target.list[0], ...target.rest] = "hé😀lo";
  ({ length: target.length, [target.length - 1]: target.last = await note("never 3") } = [7, 8, 9]);
  const take = async ({ p = 1, q: [r = p + 1, { s = r + p } = {}] = [] } = {}, ...[first, ...others]) => {
    await note("in the function");
    return [p, r, s, first, others];
  };
  const took = [await take(), await take({ p: 5, q: [undefined, { s: null }] }, "x", "y", "z")];
  let [x, y] = [1, 2];
  [x, y] = [y, await note("swap", x)];
  return { log, a, b, renamed, five, six, target, took, swapped: [x, y] };
};
