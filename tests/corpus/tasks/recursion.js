// Recursion: parallel branches that make calls, backtracking, mutual recursion of asynchronous functions, a tree walked by both.
const tree = { v: 1, kids: [{ v: 2, kids: [{ v: 3, kids: [] }, { v: 4, kids: [] }] }, { v: 5, kids: [{ v: 6, kids: [] }] }] };
const sum = async ({ v, kids }) => {
  const sums = await Promise.all(kids.map(sum));
  return sums.reduce((a, b) => a + b, await call(`node ${v}`, v, v === 6 ? { after: "node 2" } : {}));
};
async function even(n) { return n === 0 ? call("even end", "even") : odd(n - 1); }
async function odd(n) { return n === 0 ? call("odd end", "odd") : even(n - 1); }
async function queens(size, placed = []) {
  if (placed.length === size) return [await call(`solution ${placed.join("")}`, placed)];
  const found = [];
  for (let column = 0; column < size; column++) {
    const attacked = placed.some((other, row) => other === column || Math.abs(other - column) === placed.length - row);
    if (!attacked) found.push(...await queens(size, [...placed, column]));
  }
  return found;
}
async function* walk(node, depth = 0) {
  yield [node.v, depth];
  for (const kid of node.kids) yield* walk(kid, depth + 1);
}
module.exports = async function () {
  const parities = await Promise.all([even(10), odd(10), even(7)]);
  const walked = [];
  for await (const step of walk(tree)) walked.push(step);
  const solutions = await queens(4);
  const ackermann = (m, n) => (m === 0 ? n + 1 : n === 0 ? ackermann(m - 1, 1) : ackermann(m - 1, ackermann(m, n - 1)));
  let depth = 0;
  const overflow = (() => { try { (function down() { depth += 1; down(); })(); } catch (error) { return error.name; } })();
  return { total: await sum(tree), parities, walked, solutions, ackermann: ackermann(2, 3), overflow: [overflow, depth > 1000] };
};
