// Intl objects kept across calls: dates, numbers, plurals, lists, relative times, collation, segments.
module.exports = async function () {
  const day = new Intl.DateTimeFormat("en-GB", { dateStyle: "long", timeZone: "UTC" });
  const clock = new Intl.DateTimeFormat("de-DE", { hour: "2-digit", minute: "2-digit", timeZone: "Asia/Tokyo", hourCycle: "h23" });
  const euro = new Intl.NumberFormat("de-DE", { style: "currency", currency: "EUR" });
  const compact = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 3 });
  const collator = new Intl.Collator("sv", { sensitivity: "base" });
  const german = new Intl.Collator("de");
  const numeric = new Intl.Collator("en", { numeric: true });
  const plurals = new Intl.PluralRules("en", { type: "ordinal" });
  const list = new Intl.ListFormat("en", { type: "disjunction" });
  const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  const { format } = euro;
  const when = new Date(Date.UTC(2024, 1, 29, 15, 4, 5));
  const words = ["zebra", "ähnlich", "apfel", "Öl", "öl", "a10", "a9"];
  const before = [day.format(when), euro.format(1234.5), words.slice().sort(collator.compare).join()];
  await call("formatters wait", before);
  const after = [day.format(when), format(1234.5), words.slice().sort(collator.compare).join()];
  await call("and again");
  const graphemes = [...new Intl.Segmenter("en").segment("e\u0301👍🏽x")].map((one) => one.index);
  return {
    same: before.join() === after.join(), after, german: words.slice().sort(german.compare), numeric: words.slice().sort(numeric.compare),
    clock: clock.format(when), parts: day.formatToParts(when).map((part) => part.type).join(), compact: compact.format(1234567.891),
    plurals: [1, 2, 3, 4, 11, 21].map((n) => plurals.select(n)), list: list.format(["a", "b", "c"]), graphemes,
    relative: [relative.format(-1, "day"), relative.format(3, "week")], zone: day.resolvedOptions().timeZone,
    shown: [when.toLocaleDateString("en-US", { timeZone: "UTC" }), 1234567.891.toLocaleString("en-US"), (12n ** 12n).toLocaleString("de")],
    compared: ["a".localeCompare("b", "en"), "résumé".localeCompare("resume", "en", { sensitivity: "base" }),
      "I".toLocaleLowerCase("tr")],
  };
};
