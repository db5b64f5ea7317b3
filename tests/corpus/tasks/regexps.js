// RegExp with state: lastIndex of global and sticky ones, matchAll iterators half way, named groups, replacers that keep notes.
module.exports = async function () {
  const text = await call("text", "k1=v1; k2=v2; k33=v33; ü=😀");
  const pairs = /(?<key>[^=;\s]+)=(?<value>[^;]+)/gu;
  const first = pairs.exec(text);
  await call("lastIndex waits");
  const second = pairs.exec(text);
  const sticky = /\d+|[a-z]+/y;
  const tokens = [];
  for (let match; (match = sticky.exec("ab12cd-34")) !== null;) {
    tokens.push([match[0], sticky.lastIndex]);
    if (match[0] === "12") await call("in the middle of the tokens");
  }
  const matches = text.matchAll(/k(\d+)/dg);
  const one = matches.next().value;
  await call("matchAll waits");
  const rest = [...matches].map((match) => [match.index, match[1], match.indices[1]]);
  const notes = [];
  const replaced = text.replace(/v(\d)(\d)?/g, (whole, a, b, offset) => { notes.push([a, b ?? null, offset]); return `<${whole}>`; });
  return {
    first: [{ ...first.groups }, first.index], second: second.groups.key, last: pairs.lastIndex, tokens, sticky: sticky.lastIndex,
    one: one[1], rest,
    replaced, notes, split: text.split(/;\s*/), tested: [/^\p{L}/u.test("ü"), /(?<=k)33/.exec(text).index, /a.c/s.test("a\nc")],
    flags: [pairs.flags, String(pairs), pairs.source.length],
    named: "2024-02-29".replace(/(?<y>\d+)-(?<m>\d+)-(?<d>\d+)/, "$<d>.$<m>.$<y>"),
  };
};
