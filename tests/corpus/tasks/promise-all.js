// Promise.all whose calls are answered in the reverse order: results in program order, the rest in the order of the answers.
module.exports = async function () {
  const order = [];
  const one = async (name, more) => {
    const value = await call(name, name.toUpperCase(), more);
    order.push(name);
    console.log("answered", name);
    if (name !== "a") await call(`${name} noticed`);
    return value;
  };
  // a is answered once b has been noticed, and b once c has.
  const results = await Promise.all([one("a", { after: "b noticed" }), one("b", { after: "c noticed" }), one("c"), "plain", null]);
  const nested = await Promise.all([Promise.all([call("n1", 1), call("n2", 2)]), Promise.all([]), Promise.all([call("n3", 3)])]);
  const fine = [call("fine"), call("also fine")];
  let first;
  try {
    await Promise.all([...fine, Promise.reject(new Error("rejected"))]);
  } catch (error) {
    first = [error.message, ...await Promise.all(fine)];
  }
  return { results, order, nested, first };
};
