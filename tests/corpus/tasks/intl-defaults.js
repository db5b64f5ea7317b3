// Without a locale and a time zone everything is en-US and UTC, wherever the server runs and whatever it is started with.
module.exports = async function () {
  const formatter = new Intl.DateTimeFormat();
  const numbers = new Intl.NumberFormat();
  await call("formatters of the defaults");
  const when = new Date(2024, 6, 4, 5, 6, 7);
  const called = Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
  await call("again");
  return {
    locale: [formatter.resolvedOptions().locale, formatter.resolvedOptions().timeZone, numbers.resolvedOptions().locale],
    text: [formatter.format(when), numbers.format(1234567.5), called.format(when), (0.5).toLocaleString(undefined, { style: "percent" })],
    zone: [when.getTimezoneOffset(), when.toISOString(), when.getHours(), /GMT\+0000/.test(String(when))],
    now: [formatter.format() === formatter.format(new Date()), formatter.formatToParts().length > 0],
    sorted: ["b", "a", "B", "A"].sort((a, b) => a.localeCompare(b)), tag: String(Intl),
  };
};
