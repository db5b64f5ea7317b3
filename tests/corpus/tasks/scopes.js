// Scopes that outlive suspensions: blocks, shadowing, catch variables, the dead zone, parameters, functions in blocks, `with`.
const outer = "module";
module.exports = async function () {
  const seen = [];
  let x = 1;
  {
    let x = 2;
    await call("block");
    { const x = 3; seen.push(x, outer); await call("inner"); seen.push(x); }
    seen.push(x);
  }
  seen.push(x);
  try {
    throw { message: "thrown", n: 7 };
  } catch ({ message, n }) {
    const x = await call("catch", `${message}-${n}`);
    seen.push(x, n);
  }
  const early = () => late;
  try {
    await call("dead zone");
    early();
  } catch (error) {
    seen.push(error.name);
  }
  let late = "alive";
  seen.push(early());
  const parameters = async (a, b = () => a) => {
    var a = await call("parameters", "body");
    return [a, b()];
  };
  seen.push(...await parameters("argument"));
  if (seen.length > 0) {
    function hoisted() { return `hoisted ${x}`; }
  }
  with ({ x: "with", extra: "member" }) {
    seen.push(await call("with", x));
    x = extra;
    seen.push(x, hoisted());
  }
  return { seen, x };
};
