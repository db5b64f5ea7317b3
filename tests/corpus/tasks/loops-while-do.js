// while and do: calls in the condition and the body; what was assigned in the condition is there in the body.
module.exports = async function () {
  const steps = [];
  let page;
  let next = 1;
  while ((page = await call(`page-${next}`, { items: [next, next * 10], next: next < 3 ? next + 1 : null })).next !== null) {
    steps.push(...page.items);
    next = page.next;
  }
  steps.push(`last ${page.items}`);
  let tries = 0;
  do {
    tries += 1;
    steps.push(`try ${tries}`);
  } while (!(await call(`done-${tries}`, tries === 2)));
  let countdown = 3;
  while (countdown-- > 0) if (countdown === 1) steps.push(await call("one left", countdown));
  return { steps, tries, countdown };
};
