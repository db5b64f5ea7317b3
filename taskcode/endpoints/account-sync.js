/**
 * A job that must run once at a time for each account: submit it with the account as its queue key (docs/queues.md). Runs of
 * one account then go one after another, in order, beside those of other accounts:
 * `sequential-runner run account-sync --input '{"account": "a-1"}' --queue-key a-1`.
 *
 * @param {Object} [input]
 * @param {string} [input.account="demo"] Whose entries.
 * @param {number} [input.pages=3] How many pages of them.
 */
module.exports = async function accountSync(input) {
  const { account = "demo", pages = 3 } = input ?? {};
  let synced = 0;
  for (let page = 1; page <= pages; page++) {
    const { entries } = await __callHostTool__("echo", "echo", [{ entries: page * 10 }]);
    synced += entries;
    console.log(`${account}: page ${page}, ${synced} entries so far`);
  }
  return { account, synced };
};
