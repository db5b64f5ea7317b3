// console in loops across suspensions: each line once, numbered; levels, groups, counters, formats keep their state.
module.exports = async function () {
  console.group("group");
  for (let i = 0; i < 3; i++) {
    console.count("turn");
    console.info("before %d of %s, %j", i, "three", { i });
    await call(`turn ${i}`);
    console.warn("after", i, [i, { deep: { deeper: { deepest: i } } }], new Map([[i, new Set([i])]]));
  }
  console.groupEnd();
  console.countReset("turn");
  console.count("turn");
  await call("counted");
  console.assert(1 + 1 === 3, "sums are %s", "wrong");
  console.assert(true, "not shown");
  console.error(Object.assign(new Error("shown"), { stack: "Error: shown" }), undefined, null, -0, 1n, Symbol("s"), () => 1, class A {});
  for (let i = 0; i < 30; i++) console.debug(`line ${i}`);
  await call("thirty lines later");
  console.log();
  console.log("multi\nline", "%s stays", "100%", { text: "it's", list: Array.from({ length: 3 }) });
  return "logged";
};
