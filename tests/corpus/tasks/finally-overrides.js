// finally that overrides what was on its way: return over return, return over throw, break and continue out of it, nesting.
const notes = [];
async function returns() {
  try { return await call("first", "lost"); } finally { return await call("second", "kept"); }
}
async function swallows() {
  try { throw new Error("lost"); } finally { return await call("third", "the error is gone"); }
}
async function replaces() {
  try {
    try { throw new Error("inner"); } finally { notes.push("inner finally"); throw new Error(await call("fourth", "outer")); }
  } finally {
    notes.push("outer finally");
  }
}
async function evaluated() {
  let n = 1;
  try { return n; } finally { n = 2; notes.push(`n is ${n}`); }
}
module.exports = async function () {
  const out = [await returns(), await swallows(), await replaces().catch((error) => error.message), await evaluated()];
  for (const turn of [1, 2, 3]) {
    try {
      if (turn === 2) throw new Error("dropped by continue");
      out.push(`turn ${turn}`);
    } finally {
      if (turn === 2) continue;
      if (turn === 3) { out.push(await call("fifth", "leaving")); break; }
    }
  }
  const nested = await (async () => {
    try {
      try { return "a"; } finally { try { throw new Error("b"); } catch (error) { notes.push(error.message, await call("sixth")); } }
    } finally {
      notes.push("done");
    }
  })();
  return { out, nested, notes };
};
