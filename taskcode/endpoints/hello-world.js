/**
 * Says hello. The smallest task there is: one input, one call, one result. It needs no credentials.
 *
 * @param {Object} [input]
 * @param {string} [input.name="world"] Who is greeted.
 * @returns {Promise<{greeting: string}>} The greeting.
 */
module.exports = async function helloWorld(input) {
  const name = (input && input.name) || "world";
  // The task is suspended here until the call is done, be that a millisecond or a restart of the server later.
  const greeting = await __callHostTool__("echo", "echo", [`Hello, ${name}!`]);
  console.log(greeting);
  return { greeting };
};
