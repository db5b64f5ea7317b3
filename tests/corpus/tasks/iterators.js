// Iterators of one's own and of the language, half consumed across calls; helpers made of generators, native ones where there are.
const helpers = {
  * map(source, f) { let i = 0; for (const value of source) yield f(value, i++); },
  * filter(source, f) { for (const value of source) if (f(value)) yield value; },
  * take(source, n) { if (n > 0) for (const value of source) { yield value; if (--n === 0) return; } },
  * zip(...sources) {
    const iterators = sources.map((source) => source[Symbol.iterator]());
    for (;;) {
      const steps = iterators.map((iterator) => iterator.next());
      if (steps.some((step) => step.done)) return;
      yield steps.map((step) => step.value);
    }
  },
};
class Tree {
  constructor(value, ...children) { Object.assign(this, { value, children }); }
  * [Symbol.iterator]() { yield this.value; for (const child of this.children) yield* child; }
}
module.exports = async function () {
  let closed = 0;
  const naturals = {
    [Symbol.iterator]() {
      let n = 0;
      return { next: () => ({ value: n++, done: false }), return: () => ({ done: !!++closed }) };
    },
  };
  const squares = helpers.map(helpers.filter(naturals, (n) => n % 2 === 1), (n) => n * n);
  const pulled = [squares.next().value, squares.next().value];
  await call("the pipeline waits");
  pulled.push(...helpers.take(squares, 3));
  const over = squares.next().done;
  const tree = new Tree(1, new Tree(2, new Tree(await call("three", 3))), new Tree(4));
  const walk = tree[Symbol.iterator]();
  const walked = [walk.next().value, walk.next().value];
  await call("inside the tree");
  for (const value of { [Symbol.iterator]: () => walk }) walked.push(value);
  const builtIn = [["a", "b"].entries(), "h😀"[Symbol.iterator](), new Map([[1, 2]]).values(), "a1b2".matchAll(/\d/g)];
  const firsts = builtIn.map((iterator) => iterator.next().value);
  await call("the built-in ones");
  const seconds = builtIn.map((iterator) => { const { value, done } = iterator.next(); return [value?.[0] ?? null, done]; });
  const native = typeof Iterator === "function" && Iterator.prototype.map ? [1, 2].values().map((n) => n * 2).toArray() : [2, 4];
  const zipped = [...helpers.zip(tree, "xyz", helpers.map([7, 8, 9], String))];
  const from = Array.from(tree, (n) => n * 10);
  return { pulled, over, closed, walked, firsts: firsts.map((value) => value[0] ?? value), seconds, native, zipped, from };
};
