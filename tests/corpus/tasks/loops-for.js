// for: calls in its head, its condition, its step and its body; more than one variable; an empty head.
module.exports = async function () {
  const seen = [];
  for (let i = 0, odd = 1; i < (await call(`limit-${i}`, 2)); i += await call(`step-${i}`, 1), odd += 2) {
    seen.push([i, odd]);
  }
  let rest = 3;
  for (; ;) {
    if ((rest -= 1) === 0) break;
    if (rest === 2) continue;
    seen.push(await call(`rest-${rest}`, { rest }));
  }
  for (const key in await call("object", { b: 1, a: 2, 10: "ten", 9: "nine" })) seen.push(key);
  return { seen, rest };
};
