// --load into a real Docker engine.
import { once } from "node:events";
import { createServer } from "node:net";
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startDaemon, type TestDaemon } from "../support/daemon.js";
import { startDocker, type DockerEngine } from "../support/docker.js";
import { bluekilnAside, makeContext, startServices, type Services } from "../support/services.js";

let services: Services;
let docker: DockerEngine;
let daemon: TestDaemon;
beforeAll(async () => {
  services = await startServices();
  [docker, daemon] = await Promise.all([startDocker(services.work), startDaemon(services.work)]);
});
afterAll(async () => {
  await Promise.all([docker.stop(), daemon.stop()]);
  services.stop();
});

const context = (): string =>
  makeContext(services.work, { Dockerfile: `FROM ${services.base}\nRUN echo ${Math.random()} > /f\n` });

describe("--load", () => {
  it("of docker buildx, built by the daemon", async () => {
    const env = { DOCKER_HOST: docker.host };
    const { status, stderr } = await daemon.buildx(["build", "--load", "-t", "loaded:buildx", context()], {
      env,
    });
    expect(`${status} ${stderr}`).toMatch(/^0 /);
    expect((await docker.image("loaded:buildx"))!.RootFS.Layers).toHaveLength(2);
  });

  it("of bluekiln, built here and by the daemon", async () => {
    const env = { DOCKER_HOST: docker.host };
    const here = ["--state-dir", mkdtempSync(join(services.work, "state-"))];
    const there = ["--builder", `unix://${daemon.socket}`];
    for (const [name, where] of [
      ["loaded:here", here],
      ["loaded:there", there],
    ] as const) {
      const args = ["build", "--load", "-t", name, "-t", `${name}-2`, ...where, context()];
      const { status, stderr } = await bluekilnAside(args, env);
      expect(`${status} ${stderr}`).toMatch(/^0 /);
      expect((await docker.image(name))!.RootFS.Layers).toHaveLength(2);
      expect(await docker.image(`${name}-2`)).toBeDefined();
    }
  });

  it("says where no engine is, and what an engine says", async () => {
    const here = ["--state-dir", mkdtempSync(join(services.work, "state-"))];
    const load = (host: string): ReturnType<typeof bluekilnAside> =>
      bluekilnAside(["build", "--load", "-t", "a:1", ...here, context()], { DOCKER_HOST: host });
    const nowhere = await load("unix:///nowhere.sock");
    expect(`${nowhere.status} ${nowhere.stderr}`).toMatch(
      /^1 [^]*Cannot connect to the Docker daemon at unix:\/\/\/nowhere.sock. Is the docker daemon running\?/,
    );
    const path = join(services.work, "refusing.sock");
    const body = '{"message":"no space here"}';
    const refusing = createServer((socket) => {
      socket.on("error", () => undefined);
      socket.on("data", () => undefined);
      setTimeout(() => {
        socket.end(`HTTP/1.1 500 Oh\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`);
      }, 500);
    }).listen(path);
    await once(refusing, "listening");
    const refused = await load(`unix://${path}`);
    expect(`${refused.status} ${refused.stderr}`).toMatch(/^1 [^]*no space here/);
    refusing.close();
  });
});
