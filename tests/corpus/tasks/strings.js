// Text across calls: code points, normal forms, surrogates, padding, long strings made of parts, comparisons, templates of numbers.
module.exports = async function () {
  const text = await call("text", "Zoë 👩‍👩‍👧 \u0065\u0301 ﬁ ß İ \ud83d");
  const points = text[Symbol.iterator]();
  const some = [points.next().value, points.next().value];
  let rope = "";
  for (let i = 0; i < 1000; i++) rope += i % 10;
  await call("a rope and an iterator wait", rope.length);
  const rest = [...points].map((point) => point.codePointAt(0));
  rope = rope.slice(5, 995) + (await call("more", "-end"));
  let unpaired;
  try {
    unpaired = encodeURIComponent(text);
  } catch (error) {
    unpaired = error.name;
  }
  return {
    some, rest, rope: [rope.length, rope.slice(-8), rope.indexOf("90123")],
    lengths: [text.length, [...text].length, text.normalize("NFC").length],
    forms: [text.normalize("NFD").length, "ﬁ".normalize("NFKC"), "ß".toUpperCase(),
      "İ".toLowerCase().length, "Ω" === "Ω".normalize()],
    cut: ["abc".at(-1), "abcdef".slice(-3, -1), "abcdef".substring(4, 1),
      "a-b--c".split("-", 3), "x".padStart(3, "ab") + "x".padEnd(4, "é"), " \u00a0\ufefft ".trim()],
    found: ["banana".lastIndexOf("an"), "banana".replaceAll("an", "<$&>"), "ab".localeCompare("ac"),
      "a" < "B", "10" < "9", "".includes("")],
    numbers: [0.1 + 0.2, 1e21, -0, 123.456].map((n) => `${n} ${n.toFixed(2)} ${n.toString(36)}`),
    parsed: [parseInt("12px"), parseFloat(".5e1x"), Number(" 0x1f "), Number("1_0")].map(String),
    escaped: [encodeURIComponent("ä &"), unpaired, decodeURIComponent("%F0%9F%98%80"), escape("ü")],
  };
};
