import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { daemonSettings } from "./daemon-config.js";
import { DAEMON_FLAGS, parseFlags } from "./flags.js";

const folder = mkdtempSync(join(tmpdir(), "bluekiln-config-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const settings = (args: readonly string[], toml = "") => {
  const file = join(folder, "d.toml");
  writeFileSync(file, toml);
  return daemonSettings(parseFlags(["--config", file, ...args], DAEMON_FLAGS), {}, () => undefined);
};

it("takes what harnesses of buildkitd give", () => {
  const { options, notes } = settings([
    "--oci-worker=true",
    "--containerd-worker=false",
    "--oci-worker-gc=false",
    "--oci-worker-labels=org.mobyproject.buildkit.worker.sandbox=true",
    "--root",
    "/tmp/r",
    "--addr",
    "unix:///tmp/r/buildkitd.sock",
    "--debug",
  ]);
  expect(options.addresses).toEqual(["unix:///tmp/r/buildkitd.sock"]);
  expect(options.engine).toMatchObject({ stateDir: "/tmp/r", gc: undefined });
  expect(options.labels).toEqual({ "org.mobyproject.buildkit.worker.sandbox": "true" });
  expect(notes).toEqual([]);
});

it("reads the file, and lets flags come first", () => {
  const toml = `
root = "/from/file"
insecure-entitlements = ["network.host", "security.insecure"]
[grpc]
  address = ["tcp://127.0.0.1:1"]
  gid = 7
  [grpc.tls]
    cert = "/c"
    key = "/k"
    ca = "/a"
[worker.oci]
  binary = "runc"
  [worker.oci.labels]
    a = "b"
  [[worker.oci.gcpolicy]]
    keepBytes = "1GB"
    filters = ["type==source.local"]
  [[worker.oci.gcpolicy]]
    all = true
    reservedSpace = "2GB"
    maxUsedSpace = 5000000000
    keepDuration = "48h"
[registry."docker.io"]
  mirrors = ["mirror.example"]
  http = true
`;
  const { options } = settings(["--root", "/from/flag"], toml);
  expect(options.engine).toMatchObject({ stateDir: "/from/flag", runtime: "runc" });
  expect(options.engine.gc).toEqual({
    reservedSpace: 2 * 1024 ** 3,
    maxUsedSpace: 5e9,
    keepDuration: 48 * 3600_000,
  });
  expect([...options.entitlements]).toEqual(["network.host", "security.insecure", "device"]);
  expect(options).toMatchObject({ addresses: ["tcp://127.0.0.1:1"], group: 7, labels: { a: "b" } });
  expect(options.tls).toEqual({ cert: "/c", key: "/k", ca: "/a" });
  expect(options.registries.get("docker.io")).toMatchObject({ mirrors: ["mirror.example"], http: true });
});

it("reads how names are resolved, what is remembered, how registries know us", () => {
  const toml = `
[dns]
  nameservers = ["10.0.0.1"]
  options = ["ndots:1"]
[history]
  maxAge = 172800
  maxEntries = 7
[[registry."r.example".keypair]]
  key = "/k"
  cert = "/c"
`;
  const { options, notes } = settings([], toml);
  expect(options.engine.dns).toEqual({ nameservers: ["10.0.0.1"], searchDomains: [], options: ["ndots:1"] });
  expect(options.history).toEqual({ maxAge: 48 * 3600_000, maxEntries: 7 });
  expect(options.registries.get("r.example")?.keyPairs).toEqual([{ key: "/k", cert: "/c" }]);
  expect(notes).toEqual([]);
});

it("bounds how many steps run at once", () => {
  const parallelism = (flags: string[], toml = ""): number | undefined =>
    settings(flags, toml).options.engine.maxParallelism;
  expect(parallelism([])).toBeUndefined();
  expect(parallelism([], "[worker.oci]\nmax-parallelism = 4\n")).toBe(4);
  expect(parallelism(["--oci-max-parallelism=2"], "[worker.oci]\nmax-parallelism = 4\n")).toBe(2);
  expect(parallelism(["--oci-max-parallelism=0"])).toBeUndefined();
  expect(parallelism(["--oci-max-parallelism=num-cpu"])).toBeGreaterThan(0);
});

it("names what it does not have, and what is wrong", () => {
  const toml = `unheard = 1\n[otel]\nsocketPath = "/s"\n[worker.oci]\napparmor-profile = "x"\n`;
  expect(settings(["--oci-cni-config-path=/x"], toml).notes).toEqual([
    `the configuration's "unheard" is not known`,
    `the configuration's "otel.socketPath" has no effect`,
    `the configuration's "worker.oci.apparmor-profile" has no effect`,
    "--oci-cni-config-path has no effect",
  ]);
  expect(() => settings(["--oci-max-parallelism=many"])).toThrow(
    /should be positive integer, 0 for unlimited/,
  );
  expect(() => settings([], "not toml")).toThrow(/failed to parse config/);
  expect(() => settings(["--tlscert", "/c"])).toThrow(
    "you must specify key and cert file if one is specified",
  );
});
