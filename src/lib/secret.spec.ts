import { inspect } from "node:util";
import { expect, it } from "vitest";
import { Secret } from "./secret.js";

it("a secret shows itself to nobody who does not ask", () => {
  const secret = new Secret("hunter2");
  expect([String(secret), JSON.stringify({ secret }), inspect(secret)].join()).not.toContain("hunter2");
  expect(secret.reveal()).toBe("hunter2");
});
