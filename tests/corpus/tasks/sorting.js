// Sorting is stable, also by keys that calls have answered; comparators that are inconsistent or see undefined; large arrays.
module.exports = async function () {
  const people = Array.from({ length: 500 }, (_, i) => ({ id: i, group: (i * 7) % 5, name: `n${(i * 31) % 100}` }));
  const weights = await call("weights", { 0: 3, 1: 1, 2: 3, 3: 2, 4: 1 });
  const sorted = people.slice().sort((a, b) => weights[a.group] - weights[b.group]);
  await call("sorted once");
  const again = sorted.slice().sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  const stable = sorted.every((one, i) => i === 0 || weights[sorted[i - 1].group] < weights[one.group] || sorted[i - 1].id < one.id);
  const keyOf = async (fruit) => [await call(`length of ${fruit}`, fruit.length), fruit];
  const keyed = await Promise.all(["pear", "fig", "apple", "kiwi"].map(keyOf));
  keyed.sort(([a], [b]) => a - b);
  const odd = [3, undefined, 1, , 10, 2, undefined].sort();
  const reversed = Array.from({ length: 2000 }, (_, i) => (i * 7919) % 2003).sort((a, b) => b - a);
  const swapped = [5, 1, 4].sort(() => 0);
  return {
    stable, first: sorted.slice(0, 5).map((one) => one.id), names: again.slice(0, 6).map((one) => `${one.name} ${one.id}`), keyed, odd,
    holes: 6 in odd,
    reversed: [reversed[0], reversed[1], reversed.at(-1)], swapped, strings: ["b", "a", "C", "ä", "10", "9"].sort(),
    typed: [...Int16Array.of(3, -1, 2).sort()],
    groups: Object.entries(people.reduce((all, { group }) => ({ ...all, [group]: (all[group] ?? 0) + 1 }), {})),
  };
};
