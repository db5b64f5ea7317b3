// Typed arrays, DataView and ArrayBuffer: views that share bytes, both byte orders, wrap-around, clamping, a detached buffer.
module.exports = async function () {
  const buffer = new ArrayBuffer(16);
  const bytes = new Uint8Array(buffer);
  const words = new Uint16Array(buffer, 2, 3);
  const view = new DataView(buffer, 8);
  bytes.set([1, 2, 3, 4, 5, 6, 7, 8]);
  words[0] += await call("number", 65_536 + 255);
  view.setFloat32(0, await call("float", 1.5));
  view.setInt16(4, -2, true);
  view.setBigUint64(0, view.getBigUint64(0) ^ 0xffn);
  const tail = bytes.subarray(12);
  await call("views are open");
  tail.fill(9, 0, 2);
  const copy = buffer.slice(0, 4);
  const clamped = Uint8ClampedArray.of(-5, 300, 1.5, 2.5, NaN);
  const signed = new Int8Array([127, 128, 255, 256]);
  const big = new BigInt64Array([2n ** 63n, -1n]);
  const moved = structuredClone(buffer, { transfer: [buffer] });
  await call("the buffer has moved");
  let written;
  try {
    written = view.getInt8(0);
  } catch (error) {
    written = error.name;
  }
  const floats = Float64Array.from([0.1, 0.2, NaN, -0, Infinity]).map((n) => n * 2).sort();
  return {
    lengths: [buffer.byteLength, bytes.length, words.length, moved.byteLength], written, moved: [...new Uint8Array(moved)],
    copy: [...new Uint8Array(copy)], clamped: [...clamped], signed: [...signed], big: [...big].map(String), floats: [...floats].map(String),
    found: [signed.indexOf(-1), Array.from(signed.entries()).at(-1), new Uint8Array([3, 1, 2]).toString()],
  };
};
