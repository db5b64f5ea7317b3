// The arguments object in sloppy functions is an alias of the parameters, also across a suspension; callee, rest beside it, arrows.
async function sloppy(a, b) {
  arguments[0] = await call("assigned", "by arguments");
  b = "by name";
  const seen = [a, arguments[1], arguments.length];
  await call("both wait");
  a = "later";
  delete arguments[1];
  arguments[1] = "no alias any more";
  return [...seen, arguments[0], b, arguments.callee === sloppy];
}
async function strict(a) {
  "use strict";
  arguments[0] = await call("strict", "other");
  a += "?";
  return [a, arguments[0], Object.prototype.toString.call(arguments)];
}
function* generator(a) {
  arguments[0] = yield a;
  yield [a, arguments.length];
}
module.exports = async function () {
  const steps = generator(1, 2, 3);
  const first = steps.next().value;
  const second = steps.next(await call("into the generator", "sent")).value;
  const arrow = await (async function () { return (async () => [await call("in an arrow"), arguments.length, ...arguments])(); })("x", "y");
  const withDefault = await (async function (a, b = a) {
    arguments[0] = "no alias";
    await call("defaults");
    return [a, b, arguments.length];
  })("given");
  return {
    sloppy: await sloppy("a", "b", "c"), strict: await strict("s"), first, second, arrow, withDefault,
    arrays: (function () { return [Array.from(arguments), [].slice.call(arguments, 1), Reflect.ownKeys(arguments).length]; })(1, 2),
    mine: arguments.length,
  };
};
