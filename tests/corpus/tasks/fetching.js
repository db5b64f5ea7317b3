// fetch: responses, headers and bodies that are kept across further calls and read later.
module.exports = async function () {
  const post = (label, more) =>
    fetch(new URL(address(label)), { method: "POST", body: JSON.stringify({ label, ...more }), headers: [["X-Mark", "1"]] });
  const reply = await post("first", { value: { list: [1, 2] } });
  const copy = reply.clone();
  const beside = post("beside", { value: "ü" });
  await call("the body waits");
  const data = await reply.json();
  const used = await reply.json().catch((error) => error.name);
  const bytes = new Uint8Array(await (await beside).arrayBuffer());
  const headers = new Headers({ b: "2", A: "1" });
  headers.append("a", "3");
  const broken = await post("broken", { broken: true }).catch((error) => error.name);
  headers.set("c", await call("a header", "4"));
  const made = Response.json({ made: true }, { status: 201 });
  return {
    status: [reply.status, reply.ok, reply.headers.get("Content-Type"), reply.redirected], data,
    used: [used, reply.bodyUsed, copy.bodyUsed], text: await copy.text(),
    bytes: [...bytes], names: [...headers.keys()], a: headers.get("A"), broken,
    made: [made.status, await made.json(), made.headers.get("content-type")],
  };
};
