// The daemon's settings, and clients that are not buildx.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { linkSync, mkdtempSync, writeFileSync } from "node:fs";
import { connect as connectHttp2 } from "node:http2";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { gzipSync } from "node:zlib";
import { create, toBinary } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { makeCertificates } from "../support/certificates.js";
import { PruneRequestSchema, SolveRequestSchema } from "../../src/control/gen/buildkit/control_pb.js";
import { SolveRequestSchema as SolveSchema } from "../../src/control/gen/buildkit/gateway_pb.js";
import { startDaemon } from "../support/daemon.js";
import { LlbClient } from "../support/llb-client.js";
import { bluekiln, freePort, makeContext, ROOT, startServices, type Services } from "../support/services.js";

let services: Services;
beforeAll(async () => {
  services = await startServices();
});
afterAll(() => services.stop());

const folderOf = (name: string): string => mkdtempSync(join(services.work, `${name}-`));

describe("registries", () => {
  it("are pulled from through their mirrors, one that does not answer passed over", async () => {
    const config = join(folderOf("config"), "d.toml");
    writeFileSync(
      config,
      `[registry."images.invalid"]\nmirrors = ["127.0.0.1:${await freePort()}", "${services.registry}"]\n`,
    );
    const daemon = await startDaemon(services.work, ["--config", config]);
    const path = services.base.slice(services.base.indexOf("/") + 1);
    const context = makeContext(services.work, {
      Dockerfile: `FROM images.invalid/${path}\nRUN echo mirrored\n`,
    });
    const { status, stderr } = await daemon.buildx(["build", "--progress=plain", context]);
    expect(`${status} ${stderr}`).toMatch(/^0 [^]*mirrored/);
    await daemon.stop();
  });
});

describe("configuration", () => {
  it("says how names are resolved in steps", async () => {
    const config = join(folderOf("config"), "d.toml");
    writeFileSync(
      config,
      '[dns]\nnameservers = ["10.1.2.3", "10.1.2.4"]\nsearchDomains = ["a.b"]\noptions = ["ndots:3"]\n',
    );
    const daemon = await startDaemon(services.work, ["--config", config]);
    const context = makeContext(services.work, {
      Dockerfile: `FROM ${services.base}\nRUN cat /etc/resolv.conf\n`,
    });
    const { stderr } = await daemon.buildx(["build", "--progress=plain", context]);
    expect([...stderr.matchAll(/^#\d+ \d[\d.]* (.*)$/gm)].map(([, line]) => line)).toEqual([
      "search a.b",
      "nameserver 10.1.2.3",
      "nameserver 10.1.2.4",
      "options ndots:3",
    ]);
    await daemon.stop();
  });

  it("has certificates for registries that ask for them", async () => {
    const { ca, client, server } = makeCertificates(folderOf("tls"));
    const port = await freePort();
    const file = join(folderOf("registry"), "r.yml");
    const tls = `{certificate: ${server.cert}, key: ${server.key}, clientcas: ["${ca}"]}`;
    writeFileSync(
      file,
      `version: 0.1\nlog: {level: error}\nstorage: {inmemory: {}}\nhttp: {addr: "127.0.0.1:${port}", tls: ${tls}}\n`,
    );
    const registry = spawn("docker-registry", ["serve", file], { stdio: "ignore" });
    const config = join(folderOf("config"), "d.toml");
    const name = `127.0.0.1:${port}`;
    const trust = `[registry."${name}"]\nhttp = false\nca = ["${ca}"]\n`;
    const pair = `[[registry."${name}".keypair]]\nkey = "${client.key}"\ncert = "${client.cert}"\n`;
    const context = makeContext(services.work, { Dockerfile: "FROM scratch\nCOPY Dockerfile /\n" });
    await expect.poll(() => answers(port), { timeout: 10_000 }).toBe(true);
    for (const [toml, wanted] of [
      [trust + pair, 0],
      [trust, 1],
    ] as const) {
      writeFileSync(config, toml);
      const daemon = await startDaemon(services.work, ["--config", config]);
      const { status } = await daemon.buildx(["build", "--push", "-t", `${name}/app:1`, context]);
      expect(status).toBe(wanted);
      await daemon.stop();
    }
    registry.kill("SIGKILL");
  });
});

/** Requests that make sense. */
const SEEDS = [
  toBinary(
    SolveRequestSchema,
    create(SolveRequestSchema, { Ref: "r", Session: "s", Frontend: "dockerfile.v0" }),
  ),
  toBinary(PruneRequestSchema, create(PruneRequestSchema, { filter: ["id=x"], all: true, keepDuration: 9n })),
  toBinary(SolveSchema, create(SolveSchema, { Frontend: "gateway.v0", FrontendOpt: { source: "x" } })),
];

/** Random numbers that come again with their seed (mulberry32). */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => resolve(true));
    socket.on("error", () => resolve(false)).on("connect", () => socket.destroy());
  });
}

describe("tcp", () => {
  it("with certificates of both sides", async () => {
    const { ca, client, daemonFlags } = makeCertificates(folderOf("tls"));
    const port = await freePort();
    const address = `tcp://127.0.0.1:${port}`;
    const daemon = await startDaemon(services.work, ["--addr", address, ...daemonFlags]);
    const options = `cacert=${ca},cert=${client.cert},key=${client.key}`;
    const create = ["create", "--name", "secure", "--driver", "remote", "--driver-opt", options, address];
    expect((await daemon.buildx(create)).status).toBe(0);
    const { stdout } = await daemon.buildx(["inspect", "secure"]);
    expect(stdout).toMatch(/Status:\s+running/);
    const without = [
      "create",
      "--name",
      "open",
      "--driver",
      "remote",
      "--driver-opt",
      `cacert=${ca}`,
      address,
    ];
    await daemon.buildx(without);
    expect((await daemon.buildx(["inspect", "open"])).stdout).not.toMatch(/Status:\s+running/);
    await daemon.stop();
  });
});

describe("systemd", () => {
  it("passes a socket that is open already", async () => {
    const path = join(folderOf("activation"), "s");
    const server = createServer().listen(path);
    await once(server, "listening");
    const { fd } = (server as unknown as { _handle: { fd: number } })._handle;
    const command = `LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@"`;
    const args = [join(ROOT, "bin", "bluekilnd.js"), "--root", folderOf("root"), "--addr", "fd://"];
    const daemon = spawn("sh", ["-c", command, process.execPath, ...args], {
      stdio: ["ignore", "ignore", "pipe", fd],
    });
    // nobody but the daemon accepts from now on; what is closed here takes its own name along
    linkSync(path, `${path}.kept`);
    server.close();
    await once(createInterface(daemon.stderr!), "line");
    const client = new LlbClient(`${path}.kept`);
    expect((await client.control.listWorkers({})).record).toHaveLength(1);
    client.close();
    daemon.kill("SIGTERM");
    expect((await once(daemon, "close"))[0]).toBe(0);
  });
});

describe("entitlements", () => {
  it("that the daemon does not allow are refused", async () => {
    const daemon = await startDaemon(services.work);
    const context = makeContext(services.work, {
      Dockerfile: `FROM ${services.base}\nRUN --network=host true\n`,
    });
    const { status, stderr } = await daemon.buildx(["build", "--allow", "network.host", context]);
    expect(status).toBe(1);
    expect(stderr).toContain("network.host is not allowed");
    await daemon.stop();
  });
});

describe("hostile clients", () => {
  it("cannot fill the disk with a small archive", async () => {
    const disk = folderOf("disk");
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=100m", "none", disk]);
    try {
      const daemon = await startDaemon(services.work, ["--root", join(disk, "root")]);
      const bomb = folderOf("bomb");
      execFileSync("truncate", ["-s", "1G", join(bomb, "zeros")]);
      const context = makeContext(services.work, { Dockerfile: `FROM scratch\nADD bomb.tar.gz /\n` });
      execFileSync("tar", ["-czf", join(context, "bomb.tar.gz"), "-C", bomb, "zeros"]);
      const { status, stderr } = await daemon.buildx(["build", context]);
      expect(`${status} ${stderr}`).toMatch(/^1 [^]*no space left on device/);
      const small = makeContext(services.work, { Dockerfile: `FROM ${services.base}\nRUN echo lives\n` });
      expect((await daemon.buildx(["build", "--progress=plain", small])).stderr).toContain("lives");
      expect(await daemon.stop()).toBe(0);
      const doctor = bluekiln(["doctor", "--state-dir", join(disk, "root")]);
      expect(`${doctor.status} ${doctor.stdout}`).toMatch(/^0 /);
    } finally {
      execFileSync("umount", ["-l", disk]);
    }
  });

  it("do not end the daemon", async () => {
    const daemon = await startDaemon(services.work);
    const garbage = [
      Buffer.from("GET / HTTP/1.1\r\n\r\n"),
      Buffer.alloc(100_000, 0xff),
      Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ];
    for (const data of garbage) {
      await new Promise<void>((resolve) => {
        const socket = connect(daemon.socket, () => socket.end(data));
        socket.on("error", () => undefined).on("close", () => resolve());
        socket.resume();
        setTimeout(() => socket.destroy(), 500);
      });
    }
    const session = connectHttp2("http://daemon", { createConnection: () => connect(daemon.socket) });
    const call = (path: string, body: Buffer, encoding = "identity"): Promise<string> =>
      new Promise((resolve) => {
        const stream = session.request({
          ":method": "POST",
          ":path": path,
          "content-type": "application/grpc",
          "grpc-encoding": encoding,
          te: "trailers",
        });
        let status = "none";
        stream.on("response", (headers) => (status = String(headers["grpc-status"] ?? status)));
        stream.on(
          "trailers",
          (headers: Record<string, unknown>) => (status = String(headers["grpc-status"])),
        );
        stream.on("error", () => undefined).on("close", () => resolve(status));
        stream.resume();
        stream.end(body);
        setTimeout(() => stream.close(), 8000).unref();
      });
    const framed = (data: Buffer): Buffer => {
      const head = Buffer.alloc(5);
      head.writeUInt32BE(data.length, 1);
      return Buffer.concat([head, data]);
    };
    const methods = [
      "Solve",
      "Status",
      "DiskUsage",
      "Prune",
      "ListWorkers",
      "Info",
      "UpdateBuildHistory",
      "Session",
    ];
    const bridge = [
      "Solve",
      "ReadFile",
      "ReadDir",
      "StatFile",
      "Return",
      "Evaluate",
      "Warn",
      "ResolveImageConfig",
    ];
    const paths = [
      ...methods.map((name) => `/moby.buildkit.v1.Control/${name}`),
      ...bridge.map((name) => `/moby.buildkit.v1.frontend.LLBBridge/${name}`),
      "/containerd.services.content.v1.Content/Read",
      "/no.such.Service/Method",
    ];
    const bodies = [
      framed(Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x7f])),
      Buffer.from([0, 0xff, 0xff, 0xff, 0xff]),
      framed(Buffer.alloc(1000, 0x0a)),
    ];
    const statuses = await Promise.all(paths.flatMap((path) => bodies.map((body) => call(path, body))));
    expect(statuses.filter((status) => status !== "0").length).toBeGreaterThan(paths.length);
    // what a library would send, bent
    const seed = Number(process.env["FUZZ_SEED"] ?? Date.now() % 100_000);
    const random = generator(seed);
    const bent = Array.from({ length: 200 }, () => {
      const data = Buffer.from(SEEDS[Math.floor(random() * SEEDS.length)]!);
      for (let i = 0; i < 3; i++) data[Math.floor(random() * data.length)] = Math.floor(random() * 256);
      return call(paths[Math.floor(random() * paths.length)]!, framed(data));
    });
    expect({ seed, statuses: new Set(await Promise.all(bent)) }).not.toMatchObject({
      statuses: new Set(["0"]),
    });
    // a small message that is large when it is unpacked
    const bomb = framed(gzipSync(Buffer.alloc(300 << 20)));
    bomb[0] = 1;
    expect(await call("/moby.buildkit.v1.Control/Solve", bomb, "gzip")).toBe("8");
    session.destroy();
    expect((await daemon.buildx(["inspect"])).stdout).toMatch(/Status:\s+running/);
    expect(await daemon.stop()).toBe(0);
    expect(daemon.log()).not.toMatch(/Error|at .*\.js:/);
  });
});
