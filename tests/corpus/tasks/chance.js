// Math.random and crypto: drawn before and after suspensions, the same in every replay and different from draw to draw.
module.exports = async function () {
  const drawn = [];
  const draw = () => {
    const one = [Math.random(), crypto.randomUUID(), [...crypto.getRandomValues(new Uint16Array(3))]];
    drawn.push(one);
    return one;
  };
  const sides = [[], []];
  await Promise.all(sides.map(async (side, i) => {
    side.push(draw());
    await call(`side ${i}`, i, { noise: side[0], ...i === 0 && { after: "next of side 1" } });
    side.push(draw());
    await call(`next of side ${i}`, i, { noise: side[1] });
  }));
  const dice = Array.from({ length: 200 }, () => 1 + Math.floor(Math.random() * 6));
  await call("dice", 0, { noise: dice });
  const shuffled = [..."abcdefgh"].map((letter) => [Math.random(), letter]).sort(([a], [b]) => a - b).map(([, letter]) => letter);
  return {
    all: drawn.length, distinct: new Set(drawn.flatMap(([n, id]) => [n, id])).size, faces: [...new Set(dice)].sort(),
    inRange: drawn.every(([n]) => n >= 0 && n < 1),
    version: drawn.every(([, id]) => /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab]/.test(id)),
    letters: shuffled.slice().sort().join(""), noise: [sides[0][0], sides[1][0], sides[1][1], sides[0][1], dice],
  };
};
