// A task that is an ES module: strict, with exports of its own, state of the module, a default export that is a function.
export const steps = [];
export let changing = "at first";
const twice = (n) => 2 * n;
export default async function main(input, ...more) {
  steps.push(this === undefined, typeof input, more.length);
  changing = await call("changed", "changed");
  steps.push(await late());
  try {
    undeclared = await call("strict");
  } catch (error) {
    steps.push(error.name);
  }
  const line = /es-module\.js:(\d+)/.exec(new Error("where").stack)?.[1];
  return { steps, changing, doubled: twice(await call("doubled", 21)), line: Number(line), name: main.name };
}
async function late() {
  return `hoisted ${changing} ${await call("late")}`;
}
