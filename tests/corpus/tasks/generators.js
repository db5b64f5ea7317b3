// Generators that stay suspended while the task does: values in, values out, delegation, throw and return into them.
function* conversation() {
  const heard = [];
  try {
    for (let i = 0; ; i++) heard.push(yield { i, heard: [...heard] });
  } catch (error) {
    heard.push(`caught ${error.message}`);
    yield { after: [...heard] };
  } finally {
    heard.push("finally");
    yield "one more";
  }
}
function* delegating() {
  const inner = yield* (function* () { yield "inner 1"; const said = yield "inner 2"; return `inner returned ${said}`; })();
  yield inner;
  yield* [10, 20];
  return "end";
}
module.exports = async function () {
  const out = [];
  const talk = conversation();
  const other = delegating();
  out.push(talk.next("ignored").value, other.next().value);
  for (const word of ["one", "two"]) out.push(talk.next(await call(word)).value);
  out.push(other.next().value, other.next(await call("said")).value, other.next().value);
  out.push(talk.throw(new Error(await call("broken"))).value);
  out.push(talk.return("leave"), talk.next(), talk.next());
  await call("between");
  out.push([...other], other.next());
  const [first, , third] = (function* () { try { yield 1; yield 2; yield 3; yield 4; } finally { out.push("closed"); } })();
  const fibonacci = (function* () { for (let [a, b] = [0, 1]; ; [a, b] = [b, a + b]) yield a; })();
  const numbers = [];
  for (const n of fibonacci) {
    if (n > 20) break;
    numbers.push(n === 5 ? await call("five", n * 100) : n);
  }
  return { out, first, third, numbers, over: fibonacci.next().done };
};
