// Tagged templates: values that are awaited, one strings object per place, raw strings, tags that are asynchronous.
const places = new WeakMap();
let count = 0;
function place(strings, ...values) {
  if (!places.has(strings)) places.set(strings, ++count);
  return `${places.get(strings)}:${strings.raw.join("|")}:${values.join()}`;
}
async function later(strings, ...values) {
  const answers = await Promise.all(values.map((value, i) => call(`value ${i} ${value}`, `<${value}>`)));
  return strings.reduce((text, part, i) => text + answers[i - 1] + part);
}
module.exports = async function () {
  const seen = [];
  for (let i = 0; i < 2; i++) {
    seen.push(place`a${i}\n${await call(`inside ${i}`, i * 2)}b`);
    seen.push(place`a${i}\n${i * 2}b`);
  }
  const text = await later`x${1}y${await call("two", 2)}z`;
  const frozen = ((strings) => [Object.isFrozen(strings), Object.isFrozen(strings.raw), strings[0] === undefined])`\unicode`;
  const raw = String.raw`\t${await call("raw", "r")}\u0041`;
  return { seen, count, text, frozen, raw, nested: `a${`b${`c${await call("nested", 1)}`}`}` };
};
