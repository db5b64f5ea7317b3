// break and continue to labels of outer loops and of blocks, out of finally blocks that make calls.
module.exports = async function () {
  const path = [];
  outer: for (let i = 0; i < 4; i++) {
    inner: for (const letter of "abc") {
      if (letter === "b" && i === 0) continue outer;
      if (letter === "b" && i === 1) {
        try {
          path.push(await call(`${letter}${i}`));
          continue inner;
        } finally {
          path.push("finally");
        }
      }
      if (i === 2) {
        try {
          break outer;
        } finally {
          path.push(await call("leaving"));
        }
      }
      path.push(`${letter}${i}`);
    }
    path.push(`end of ${i}`);
  }
  block: {
    path.push(await call("block", "in the block"));
    if (path.length > 3) break block;
    path.push("never");
  }
  return path;
};
