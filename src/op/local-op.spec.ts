import { expect, it } from "vitest";
import type { Session } from "../session/index.js";
import type { OpContext } from "./context.js";
import { LocalOp } from "./local-op.js";

/** Under what a folder is remembered. */
async function keyOf(
  name: string,
  attrs: Record<string, string>,
  session: Partial<Session>,
): Promise<string> {
  let key = "";
  const context: Partial<OpContext> = {
    session: { takeFolder: async () => false, ...session } as Session,
    refs: { newFolders: () => ({ upper: "u", work: "w" }), commit: async () => ({}) } as never,
    lastSent: () => undefined,
    sent: (one) => (key = one),
  };
  await new LocalOp(name, attrs, context as OpContext).run([], new AbortController().signal);
  return key;
}

it("remembers each folder of each client by itself, of clients that do not say who they are too", async () => {
  const hint = { "local.sharedkeyhint": "h" };
  const keys = await Promise.all([
    keyOf("context", {}, {}),
    keyOf("dockerfile", {}, {}),
    keyOf("context", hint, {}),
    keyOf("context", { "local.metadatatransfer": "true" }, {}),
    keyOf("context", {}, { sharedKey: "client" }),
  ]);
  expect(new Set(keys).size).toBe(keys.length);
  expect(keys).not.toContain("");
  expect(await keyOf("context", hint, {})).toBe(keys[2]);
});
