/**
 * Adds up orders, and says on the way what the run can be found by:
 * sequential-runner runs list --task order-attributes --attr 'total>100'
 *
 * @param {Object} [input]
 * @param {string} [input.customer="nobody"] Whose orders they are
 * @param {number} [input.orders=3] How many there are
 */
module.exports = async function orderAttributes(input) {
  const { customer = "nobody", orders = 3 } = input ?? {};
  setAttributes({ customer, orders });
  let total = 0;
  for (let n = 1; n <= orders; n++) total += await __callHostTool__("echo", "echo", [10 * n]);
  setAttributes({ total });
  return { customer, orders, total };
};
