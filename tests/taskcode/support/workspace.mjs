// One offline workspace for one test file.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startWorkspace } from "../../../tools/offline-workspace/lib/workspace.mjs";
import { createGapi } from "./gapi.mjs";

export async function openWorkspace(options = {}) {
  const dir = mkdtempSync(join(tmpdir(), "taskcode-workspace-"));
  const running = await startWorkspace({ dir, ...options });
  const { domains, users, messages } = running.workspace;
  const mailOf = (email) =>
    messages.filter((message) => message.user_email === email && !message.label_ids.includes("SPAM"));
  return {
    domains,
    users,
    mailOf,
    adminEmail: running.adminEmail,
    gapi: createGapi(running),
    async control(document) {
      const url = `http://127.0.0.1:${running.port}/_control`;
      const headers = { "content-type": "application/json" };
      const response = await fetch(url, { method: "POST", headers, body: JSON.stringify(document) });
      if (!response.ok) throw new Error(await response.text());
      return response.json();
    },
    async close() {
      await running.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
