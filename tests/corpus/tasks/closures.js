// Closures over loop variables: one binding per turn for let, one for all for var, also when made before a suspension.
module.exports = async function () {
  const lets = [];
  const vars = [];
  for (let i = 0; i < 3; i++) {
    lets.push({ get: () => i, add: (n) => (i += n) });
    await call(`let-${i}`);
    lets[i].add(0.5);
    i = Math.floor(i);  // the closure of this turn sees it
  }
  for (var j = 0; j < 2; j++) {
    vars.push(() => j);
    await call(`var-${j}`);
  }
  const makeCounter = (start) => {
    let n = start;
    return { up: async (label) => (n += await call(label, 2)), n: () => n };
  };
  const [a, b] = [makeCounter(0), makeCounter(100)];
  await Promise.all([a.up("a"), b.up("b")]);
  a.up = b.up;  // the closure goes with the function, not with the object
  await a.up("b again");
  return { lets: lets.map((one) => one.get()), vars: vars.map((one) => one()), a: a.n(), b: b.n() };
};
