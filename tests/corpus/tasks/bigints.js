// BigInt: large values kept across calls, mixed comparisons, bit arithmetic, conversions, a generator of them.
module.exports = async function () {
  const factorial = async (n) => {
    let product = 1n;
    for (let i = 2n; i <= n; i++) {
      product *= i;
      if (i % 10n === 0n) product += BigInt(await call(`at ${i}`, 0));
    }
    return product;
  };
  const big = await factorial(30n);
  const text = await call("as text", String(big));
  const powers = (function* () { for (let n = 1n; ; n <<= 64n) yield n; })();
  const three = [powers.next().value, powers.next().value];
  await call("a generator of them waits");
  three.push(powers.next().value);
  let mixed;
  try {
    mixed = 1n + 1;
  } catch (error) {
    mixed = error.name;
  }
  return {
    text, same: BigInt(text) === big, powers: three.map(String), mixed, hex: (big >> 70n).toString(16),
    width: [BigInt.asIntN(8, 255n), BigInt.asUintN(64, -1n)].map(String),
    compared: [2n > 1, 1n == 1, 1n === 1, 10n > 9n, [3n, 1, 2n, 10].sort((a, b) => (a < b ? -1 : 1)).map(String)],
    divided: [-7n / 2n, -7n % 2n, (-7n) ** 3n, 5n & 3n, ~5n].map(String), typeof: typeof Object(1n),
    parsed: BigInt("0x1fffffffffffff") + 1n === 2n ** 53n,
  };
};
