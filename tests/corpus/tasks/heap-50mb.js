// 50 MB of objects, strings and numbers that are held across calls and are all there afterwards.
const CELLS = 300_000;
module.exports = async function () {
  const cells = [];
  const index = new Map();
  for (let i = 0; i < CELLS; i++) {
    const cell = { i, next: null, pair: [i * 0.5, -i], name: `cell ${i}` };
    if (i % 4 === 0) index.set(cell.name, cell);
    cells.push(cell);
  }
  for (let i = 0; i < CELLS; i++) cells[i].next = cells[(i + 7919) % CELLS];
  await call("50 MB are held");
  let sum = 0;
  for (let cell = cells[0], steps = 0; steps < CELLS; cell = cell.next, steps++) sum += cell.pair[0] + cell.i % 3;
  const found = index.get("cell 4000").next.name;
  cells.length = CELLS / 2;
  await call("half of the list is gone");
  const digest = cells.reduce((hash, { i, name }) => (Math.imul(hash, 31) + i + name.length) | 0, 7);
  return { sum, found, digest, size: index.size, kept: cells.length };
};
