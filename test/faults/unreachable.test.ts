// A cache that cannot be reached at all: no such host, nobody there, a certificate nobody trusts.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startFaultProxy, type FaultProxy } from "../support/fault-proxy.js";
import { bluekiln, freePort, KEY, makeContext, startServices, type Services } from "../support/services.js";

let services: Services;
let secure: FaultProxy;
let context: string;
const places: Record<string, string> = {};

beforeAll(async () => {
  services = await startServices();
  const [key, certificate] = [join(services.work, "key.pem"), join(services.work, "certificate.pem")];
  const subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"];
  const files = ["-keyout", key, "-out", certificate];
  const options = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", ...subject, ...files];
  execFileSync("openssl", ["req", ...options], { stdio: "ignore" });
  const azurite = new URL(services.azure).host;
  secure = await startFaultProxy(azurite, ["--tls-cert", certificate, "--tls-key", key]);
  context = makeContext(services.work, { Dockerfile: "FROM scratch\nCOPY f /\n", f: "content" });
  places["no such host"] = "http://account.invalid";
  places["nobody there"] = `http://127.0.0.1:${await freePort()}/devstoreaccount1`;
  places["a certificate nobody trusts"] = `https://${secure.address}/devstoreaccount1`;
  places["no TLS at all"] = `https://${azurite}/devstoreaccount1`;
});
afterAll(() => {
  secure.stop();
  services.stop();
});

function build(title: string, ...options: string[]) {
  const place = `type=azblob,name=x,account_url=${places[title]},account_name=devstoreaccount1,secret_access_key=${KEY}`;
  const args = options.map((option) => option.replace("CACHE", place));
  return bluekiln(["build", "--state-dir", mkdtempSync(join(services.work, "state-")), ...args, context]);
}

describe.each([
  ["no such host", /ENOTFOUND|EAI_AGAIN/],
  ["nobody there", /ECONNREFUSED/],
  ["a certificate nobody trusts", /self-signed certificate/],
  ["no TLS at all", /packet length too long|wrong version number/],
])("%s", (title, reason) => {
  it("is a miss for an import", () => {
    const out = mkdtempSync(join(services.work, "out-"));
    const { status, stderr } = build(title, "--cache-from=CACHE", "--output", out);
    expect(stderr).toMatch(reason);
    expect(status).toBe(0);
    expect(readFileSync(join(out, "f"), "utf8")).toBe("content");
  });

  it("fails an export, unless that is to be ignored", () => {
    const failed = build(title, "--cache-to=CACHE");
    expect(failed.stderr).toMatch(reason);
    expect(failed.status).toBe(1);
    const ignored = build(title, "--cache-to=CACHE,ignore-error=true");
    expect(ignored.stderr).toMatch(/WARNING: cache export failed and is ignored: azblob: cannot /);
    expect(ignored.status).toBe(0);
  });
});
