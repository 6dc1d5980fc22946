// What a step gets of the machine: devices, control groups, emulators.
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bluekiln, makeContext, startServices, type Services } from "../support/services.js";

let services: Services;
let state: string;
beforeAll(async () => {
  services = await startServices();
  state = mkdtempSync(join(services.work, "state-"));
});
afterAll(() => services.stop());

const build = (args: string[], options: Parameters<typeof bluekiln>[1] = {}) =>
  bluekiln(["build", "--progress=plain", "--state-dir", state, ...args], options);

describe("devices", () => {
  const FOO = "vendor1.com/device=foo";
  const withDevice = (flag: string, command: string): string =>
    makeContext(services.work, {
      Dockerfile: `# syntax=docker/dockerfile:1-labs\nFROM ${services.base}\nRUN --device=${flag} ${command}\n`,
    });
  let env: Record<string, string>;
  beforeAll(() => {
    const folder = join(services.work, "cdi");
    mkdirSync(folder);
    writeFileSync(join(folder, "given"), "from the host");
    const edits = {
      env: ["FOO=injected"],
      deviceNodes: [{ path: "/dev/foo", hostPath: "/dev/zero" }],
      mounts: [{ hostPath: join(folder, "given"), containerPath: "/given", options: ["ro"] }],
    };
    const spec = {
      cdiVersion: "0.6.0",
      kind: "vendor1.com/device",
      devices: [{ name: "foo", containerEdits: edits }],
    };
    writeFileSync(join(folder, "vendor1.json"), JSON.stringify(spec));
    env = { BLUEKILN_CDI_SPEC_DIRS: folder };
  });

  it("of CDI specs reach the step that names them", () => {
    const command = "echo $FOO $(cat /given) $(head -c 3 /dev/foo | od -An -tx1)";
    const result = build(["--allow", `device=${FOO}`, withDevice(FOO, command)], { env });
    expect(result.stderr).toContain("injected from the host 00 00 00");
    expect(result.status).toBe(0);
  });

  it("are refused where nobody allowed them", () => {
    const result = build([withDevice(FOO, "true")], { env });
    expect(result.stderr).toContain(`device ${FOO} is requested by the build but not allowed`);
    expect(result.status).toBe(1);
  });

  it("that are not there end the build only where they are required", () => {
    const missing = "vendor1.com/device=nope";
    expect(build(["--allow", "device", withDevice(missing, "true")], { env }).status).toBe(0);
    const result = build(["--allow", "device", withDevice(`${missing},required`, "echo 1")], { env });
    expect(result.stderr).toContain(`required device "${missing}" is not registered`);
    expect(result.status).toBe(1);
  });

  it("that a step makes itself cannot be opened", () => {
    const dockerfile = `FROM ${services.base}\nRUN mknod /kmsg c 1 11 && ! head -c 1 /kmsg && echo denied\n`;
    const result = build([makeContext(services.work, { Dockerfile: dockerfile })]);
    expect(result.stderr).toContain("Operation not permitted");
    expect(result.stderr).toContain("denied");
    expect(result.status).toBe(0);
  });
});

describe("control groups", () => {
  it("of steps lie below --cgroup-parent", () => {
    const script = "cat /proc/1/cgroup /proc/self/cgroup; cat /proc/self/mountinfo | grep cgroup";
    const context = makeContext(services.work, {
      Dockerfile: `FROM ${services.base}\nRUN ${script}; sleep 2\n`,
    });
    const seen = new Set<string>();
    const watch = spawnSync(
      "bash",
      [
        "-c",
        `"$@" & child=$!; while kill -0 $child 2>/dev/null; do
           find /sys/fs/cgroup -maxdepth 5 -path '*bluekiln-test-parent/*' -name 'bluekiln-*' 2>/dev/null; sleep 0.1
         done; wait $child`,
        "bash",
        ...[process.execPath, "bin/bluekiln.js", "build", "--state-dir", state],
        ...["--cgroup-parent", "bluekiln-test-parent", context],
      ],
      { encoding: "utf8" },
    );
    for (const line of watch.stdout.split("\n")) if (line !== "") seen.add(line);
    expect(watch.stderr).not.toContain("ERROR");
    expect(watch.status).toBe(0);
    expect([...seen].join("\n")).toMatch(/bluekiln-test-parent\/bluekiln\/bluekiln-\d+-/);
    spawnSync("bash", ["-c", "find /sys/fs/cgroup -depth -path '*bluekiln-test-parent*' -type d -delete"]);
  });
});

const BINFMT = "/proc/sys/fs/binfmt_misc";
const NAME = "qemu-riscv64";

describe("another platform", () => {
  let mounted = false;
  let registered = false;
  beforeAll(() => {
    if (!existsSync(join(BINFMT, "register"))) {
      const { stderr } = spawnSync("mount", ["-t", "binfmt_misc", "binfmt_misc", BINFMT], {
        encoding: "utf8",
      });
      expect(stderr).toBe("");
      mounted = true;
    }
    if (existsSync(join(BINFMT, NAME))) return;
    const magic = String.raw`\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xf3\x00`;
    const mask = String.raw`\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff`;
    writeFileSync(join(BINFMT, "register"), `:${NAME}:M::${magic}:${mask}:/usr/bin/${NAME}-static:F`);
    registered = true;
  });
  afterAll(() => {
    if (registered) writeFileSync(join(BINFMT, NAME), "-1");
    if (mounted) spawnSync("umount", [BINFMT]);
  });

  it("runs its programs where an emulator is registered", () => {
    const context = makeContext(services.work, {
      Dockerfile: 'FROM scratch\nCOPY program /program\nRUN ["/program"]\n',
    });
    writeFileSync(join(context, "program"), riscvProgram("hello from riscv64\n"));
    chmodSync(join(context, "program"), 0o755);
    const result = build(["--platform", "linux/riscv64", "-t", `${services.registry}/riscv:1`, context]);
    expect(result.stderr).toContain("hello from riscv64");
    expect(result.status).toBe(0);
    expect(readFileSync(join(BINFMT, NAME), "latin1")).toContain("enabled");
  });
});

/** A static riscv64 program that writes `text` and ends. */
function riscvProgram(text: string): Buffer {
  const [zero, a0, a1, a2, a7] = [0, 10, 11, 12, 17];
  const addi = (rd: number, rs: number, value: number): number =>
    ((value << 20) | (rs << 15) | (rd << 7) | 0x13) >>> 0;
  const ecall = 0x73;
  const auipc = (rd: number): number => ((rd << 7) | 0x17) >>> 0;
  const words = [
    addi(a7, zero, 64),
    addi(a0, zero, 1),
    auipc(a1),
    addi(a1, a1, 7 * 4),
    addi(a2, zero, text.length),
    ecall,
    addi(a7, zero, 93),
    addi(a0, zero, 0),
    ecall,
  ];
  const code = Buffer.concat([Buffer.from(Uint32Array.from(words).buffer), Buffer.from(text)]);
  const base = 0x10000n;
  const header = Buffer.alloc(120);
  header.write("\x7fELF\x02\x01\x01", "latin1");
  header.writeUInt16LE(2, 16);
  header.writeUInt16LE(243, 18);
  header.writeUInt32LE(1, 20);
  header.writeBigUInt64LE(base + 120n, 24);
  header.writeBigUInt64LE(64n, 32);
  header.writeUInt16LE(64, 52);
  header.writeUInt16LE(56, 54);
  header.writeUInt16LE(1, 56);
  header.writeUInt32LE(1, 64);
  header.writeUInt32LE(5, 68);
  header.writeBigUInt64LE(base, 80);
  header.writeBigUInt64LE(base, 88);
  header.writeBigUInt64LE(BigInt(120 + code.length), 96);
  header.writeBigUInt64LE(BigInt(120 + code.length), 104);
  header.writeBigUInt64LE(0x1000n, 112);
  return Buffer.concat([header, code]);
}
