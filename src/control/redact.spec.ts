import { expect, it } from "vitest";
import { redactAttrs } from "./redact.js";

it("leaves nothing secret of caches and URLs, and everything else", () => {
  const caches = [
    {
      Type: "azblob",
      Attrs: { name: "app", secret_access_key: "KEY", account_url: "https://a.b/?sv=1&sig=SIGNED" },
    },
    { Type: "s3", Attrs: { access_key_id: "id", secret_access_key: "KEY", session_token: "TOKEN" } },
  ];
  const redacted = redactAttrs({
    "cache-imports": JSON.stringify(caches),
    context: "https://user:PASSWORD@github.com/a/b.git#main",
    "build-arg:SECRET_NAME": "visible in the image anyway",
    filename: "Dockerfile",
  });
  const text = JSON.stringify(redacted);
  for (const secret of ["KEY", "SIGNED", "TOKEN", "PASSWORD"]) expect(text).not.toContain(`"${secret}`);
  expect(text).not.toMatch(/SIGNED|TOKEN|PASSWORD|\bKEY\b/);
  expect(text).toContain("sv=1");
  expect(redacted["filename"]).toBe("Dockerfile");
  expect(redacted["build-arg:SECRET_NAME"]).toBe("visible in the image anyway");
  expect(JSON.parse(redacted["cache-imports"]!)).toHaveLength(2);
});

it("shows no cache attribute that it cannot read", () => {
  expect(redactAttrs({ "cache-imports": "not json, secret_access_key=KEY" })["cache-imports"]).toBe("xxxxx");
});
