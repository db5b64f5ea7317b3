// Puts the parts together: seed, service account, emulator, front.
import { mkdirSync } from "node:fs";
import { DIRECTORY_SCOPES } from "./directory.mjs";
import { startEmulator } from "./emulator.mjs";
import { createFaults } from "./faults.mjs";
import { startFront } from "./front.mjs";
import { GMAIL_SCOPES } from "./gmail.mjs";
import { openLedger } from "./ledger.mjs";
import { makeWorkspace } from "./seed.mjs";
import { loadServiceAccount } from "./service-account.mjs";
import { createTokens } from "./tokens.mjs";

function emulatorSeed(workspace) {
  return {
    users: workspace.users.map(({ email, givenName, familyName }) => ({
      email,
      name: `${givenName} ${familyName}`,
      given_name: givenName,
      family_name: familyName,
    })),
    messages: workspace.messages,
  };
}

/**
 * Starts an offline workspace in this process.
 * @param {{dir: string, port?: number, domains?: number, users?: number, messages?: number, messagesPerUser?: number,
 *   noMailbox?: number, scopes?: string[], ledger?: string, clock?: () => number}} options
 * @returns {Promise<{port: number, endpoint: string, keyFile: string, adminEmail: string, workspace: object,
 *   emulatorPort: number, close: () => Promise<void>}>}
 */
export async function startWorkspace(options) {
  const { dir, port = 0, scopes, ledger: ledgerFile, clock, ...sizes } = options;
  const workspace = makeWorkspace(sizes);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const account = loadServiceAccount(dir);
  const users = new Map(workspace.users.map((user) => [user.email, user]));
  const tokens = createTokens({
    account,
    findUser: (email) => users.get(String(email).toLowerCase()),
    authorised: scopes ?? [...DIRECTORY_SCOPES, ...GMAIL_SCOPES],
    clock,
  });
  const ledger = openLedger(ledgerFile);
  const faults = createFaults({ onRevoke: tokens.revokeAll });
  const emulator = await startEmulator(emulatorSeed(workspace));
  let server;
  try {
    server = await startFront({ workspace, tokens, emulator, faults, ledger }, port);
  } catch (error) {
    await emulator.close();
    throw error;
  }
  return {
    port: server.address().port,
    endpoint: `http://127.0.0.1:${server.address().port}/_h/{host}`,
    keyFile: account.file,
    adminEmail: workspace.adminEmail,
    workspace,
    emulatorPort: emulator.port,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await emulator.close();
      ledger.close();
    },
  };
}
