// switch: fallthrough over calls, calls as case expressions in order, a default in the middle, declarations in its scope.
async function walk(value, log) {
  switch (value) {
    case 1:
      log.push(await call("one"));
    case 2: {
      const inner = await call("two");
      log.push(inner);
    }
    default:
      log.push("default");
      if (value === 2) break;
    case 3:
      log.push("three");
      return "returned";
    case 4:
      log.push("never");
  }
  return "broke";
}
module.exports = async function () {
  const log = [];
  const ends = [await walk(1, log), await walk(2, log), await walk(3, log), await walk(9, log)];
  const asked = [];
  const ask = (label, answer) => { asked.push(label); return call(label, answer); };
  let found;
  switch (await ask("subject", "b")) {
    case await ask("first case", "a"): found = 1; break;
    case await ask("second case", "b"): {
      let found2 = "scoped";
      found = [2, found2];
      break;
    }
    case await ask("never", "c"): found = 3;
  }
  const kinds = [];
  for (const value of [null, NaN, "1", 1, {}]) {
    switch (true) {
      case value === null: kinds.push("null"); continue;
      case Number.isNaN(value): kinds.push("NaN"); break;
      case typeof value === "string": kinds.push("text");
      case value === 1: kinds.push("or one"); break;
      default: kinds.push(typeof value);
    }
    kinds.push("end");
  }
  return { log, ends, asked, found, kinds };
};
