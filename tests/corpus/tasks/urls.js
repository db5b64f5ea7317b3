// URL, URLSearchParams, TextEncoder and a TextDecoder in the middle of a character, across calls.
module.exports = async function () {
  const url = new URL("../b/./c?x=1&y=a%20b#top", "https://user@Example.com:443/a/z/");
  const { searchParams } = url;
  const keys = searchParams.keys();
  const first = keys.next().value;
  searchParams.append("späte", await call("value", "ü & +"));
  url.hash = "";
  url.port = 8443;
  await call("the iterator waits");
  searchParams.delete("x");
  searchParams.sort();
  const params = new URLSearchParams([["b", "2"], ["a", "1"], ["b", "3"]]);
  const decoder = new TextDecoder();
  const bytes = new TextEncoder().encode("a😀ü\u0000z");
  let text = decoder.decode(bytes.subarray(0, 3), { stream: true });
  await call("inside a character");
  text += decoder.decode(bytes.subarray(3, 6), { stream: true });
  await call("inside another");
  text += decoder.decode(bytes.subarray(6));
  const into = new Uint8Array(6);
  const failure = (f) => { try { return f(); } catch (error) { return error.name; } };
  const fatal = failure(() => new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.of(0xff)));
  const invalid = failure(() => new URL("no scheme").href);
  return {
    href: url.href, first, rest: [...keys], origin: url.origin, all: [...searchParams], params: [params.getAll("b"), String(params)], text,
    fatal, invalid,
    length: bytes.length, into: [new TextEncoder().encodeInto("xü😀y", into), [...into]], json: JSON.stringify({ url }),
    base64: [btoa("ü\u0000"), atob("/////w==").length],
    utf16: new TextDecoder("utf-16le").decode(Uint8Array.of(0x3d, 0xd8, 0x00, 0xde)),
    host: new URL("http://xn--mnchen-3ya.de/ä?ä#ä").href,
  };
};
