// The command line as a user runs it.
import { startChild } from "./children.mjs";
import { binary, cleanEnv } from "./server.mjs";
import { within } from "./wait.mjs";

/** Runs a command; answers {code, signal, stdout, stderr, json()}. `input` goes to its standard input. */
export async function cli(server, args, { input = "", env = {}, cwd = server?.dir, timeoutMs = 60_000, onStart } = {}) {
  const where = server ? { SEQUENTIAL_SERVER: server.url } : {};
  const child = startChild(binary(), args, { cwd, env: cleanEnv({ ...where, ...env }), stdio: ["pipe", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text) => { stdout += text; });
  child.stderr.setEncoding("utf8").on("data", (text) => { stderr += text; });
  const drained = Promise.all([child.stdout, child.stderr].map((stream) => new Promise((resolve) => stream.once("close", resolve))));
  child.stdin.on("error", () => {});  // it may end without reading
  child.stdin.end(input);
  onStart?.(child);
  try {
    const how = await within(`sequential-runner ${args.join(" ")}`, timeoutMs, child.exited);
    await drained;
    return { ...how, stdout, stderr, json: () => JSON.parse(stdout) };
  } catch (error) {
    child.kill("SIGKILL");
    throw new Error(`${error.message}\n${stdout}\n${stderr}`);
  }
}
