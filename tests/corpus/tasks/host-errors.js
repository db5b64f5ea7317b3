// Errors of host calls are ordinary exceptions: caught, wrapped, thrown again, met by a finally block that makes a call.
const facts = (error) => [error.name, error instanceof HostCallError, error.code, error.service, error.method];
module.exports = async function () {
  const seen = [];
  const fail = (code) => services.echo.fail({ code, message: `failed as ${code}`, status: 418, errors: [{ reason: code }] });
  try {
    await Promise.all([call("beside the failure"), fail("E_ONE")]);
  } catch (error) {
    seen.push(facts(error), error.message, error.status, error.errors);
  }
  try {
    try {
      await fail(404);
    } finally {
      seen.push(await call("cleanup"));
    }
  } catch (error) {
    try {
      throw new Error("wrapped", { cause: error });
    } catch (wrapped) {
      await call("between");
      seen.push([wrapped.message, ...facts(wrapped.cause)]);
    }
  }
  try {
    await call("broken", 0, { broken: true });
  } catch (error) {
    seen.push(facts(error), Object.keys(error));
  }
  try {
    await __callHostTool__("http", "nothing", []);
  } catch (error) {
    seen.push(facts(error), await call("in catch"));
  }
  const misused = await __callHostTool__("echo", "echo", [1n]).catch((error) => error.name);
  return { seen, misused };
};
