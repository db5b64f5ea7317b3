// The service account whose key the server under test is given. The key is made at start and never committed.
import { createPublicKey, generateKeyPairSync, randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export const TOKEN_URI = "https://oauth2.googleapis.com/token";
const PROJECT = "offline-workspace";
const CLIENT_EMAIL = `sequential-runner@${PROJECT}.iam.gserviceaccount.com`;

function createKey() {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const clientId = "104857600000000000001";
  return {
    type: "service_account",
    project_id: PROJECT,
    private_key_id: randomBytes(20).toString("hex"),
    private_key: privateKey.export({ type: "pkcs8", format: "pem" }),
    client_email: CLIENT_EMAIL,
    client_id: clientId,
    auth_uri: "https://accounts.google.com/o/oauth2/auth",
    token_uri: TOKEN_URI,
    auth_provider_x509_cert_url: "https://www.googleapis.com/oauth2/v1/certs",
    client_x509_cert_url: `https://www.googleapis.com/robot/v1/metadata/x509/${encodeURIComponent(CLIENT_EMAIL)}`,
    universe_domain: "googleapis.com",
  };
}

/**
 * Reads `DIR/service-account.json`, or makes it. A key that is already there is used again, so that a server configured
 * with it goes on working when the workspace is restarted.
 */
export function loadServiceAccount(dir) {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const file = join(dir, "service-account.json");
  if (!existsSync(file)) {
    writeFileSync(file, JSON.stringify(createKey(), null, 2) + "\n", { mode: 0o600, flag: "wx" });
  }
  const key = JSON.parse(readFileSync(file, "utf8"));
  return {
    file,
    clientEmail: key.client_email,
    keyId: key.private_key_id,
    tokenUri: key.token_uri,
    publicKey: createPublicKey(key.private_key),
  };
}
