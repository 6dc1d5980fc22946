// Certificates of a daemon and its client, both signed by one authority.
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

export interface Certificates {
  /** file */
  readonly ca: string;
  readonly client: { readonly cert: string; readonly key: string };
  /** of 127.0.0.1 and registry.test */
  readonly server: { readonly cert: string; readonly key: string };
  /** of a daemon at 127.0.0.1 that wants its clients signed */
  readonly daemonFlags: readonly string[];
}

export function makeCertificates(folder: string): Certificates {
  const file = (name: string): string => join(folder, name);
  const openssl = (...args: string[]): void =>
    void execFileSync("openssl", args, { stdio: "ignore", cwd: folder });
  const newKey = ["-newkey", "rsa:2048", "-nodes"];
  openssl("req", "-x509", ...newKey, "-days", "2", "-subj", "/CN=ca", "-keyout", "ca.key", "-out", "ca.pem");
  writeFileSync(file("ext"), "subjectAltName=IP:127.0.0.1,DNS:registry.test\n");
  for (const name of ["server", "client"]) {
    openssl("req", ...newKey, "-subj", `/CN=${name}`, "-keyout", `${name}.key`, "-out", `${name}.csr`);
    const sign = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "ext"];
    openssl("x509", "-req", "-in", `${name}.csr`, ...sign, "-out", `${name}.pem`);
  }
  const ca = file("ca.pem");
  return {
    ca,
    client: { cert: file("client.pem"), key: file("client.key") },
    server: { cert: file("server.pem"), key: file("server.key") },
    daemonFlags: ["--tlscert", file("server.pem"), "--tlskey", file("server.key"), "--tlscacert", ca],
  };
}
