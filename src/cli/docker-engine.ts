// The Docker engine that docker's command line would ask: where it is, and images for it (--load).
import { createHash } from "node:crypto";
import { createReadStream, readFileSync } from "node:fs";
import { request, type ClientRequest, type IncomingMessage } from "node:http";
import { homedir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { BuildError, messageOf } from "../lib/index.js";

type Environment = Readonly<Record<string, string | undefined>>;

/** docker's own folder */
export function dockerFolder(env: Environment): string {
  return env["DOCKER_CONFIG"] || join(env["HOME"] || homedir(), ".docker");
}

/** A file of docker's folder; empty if there is none. */
export function readDockerFile(env: Environment, path: string): Record<string, unknown> {
  try {
    return JSON.parse(readFileSync(join(dockerFolder(env), path), "utf8")) as Record<string, unknown>;
  } catch {
    return {};
  }
}

/** "unix:///var/run/docker.sock", "tcp://127.0.0.1:2375" */
export function dockerEngine(env: Environment): string {
  const usual = "unix:///var/run/docker.sock";
  if (env["DOCKER_HOST"]) return env["DOCKER_HOST"];
  const configured = readDockerFile(env, "config.json")["currentContext"] as string | undefined;
  const context = env["DOCKER_CONTEXT"] || configured;
  if (!context || context === "default") return usual;
  const hash = createHash("sha256").update(context).digest("hex");
  const meta = readDockerFile(env, join("contexts", "meta", hash, "meta.json")) as {
    Endpoints?: { docker?: { Host?: string } };
  };
  return meta.Endpoints?.docker?.Host || usual;
}

/** @param file what `docker load` takes @throws BuildError DOCKER_UNREACHABLE, LOAD_FAILED */
export async function loadImage(file: string, env: Environment, signal: AbortSignal): Promise<void> {
  const address = dockerEngine(env);
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const sending = post(address, signal);
    sending.once("response", resolve).once("error", (cause) => {
      const problem = `Cannot connect to the Docker daemon at ${address}. Is the docker daemon running?`;
      reject(signal.aborted ? cause : new BuildError("DOCKER_UNREACHABLE", problem, { cause }));
    });
    createReadStream(file).on("error", reject).pipe(sending);
  });
  const answer = await text(response);
  const failed = /"(?:error|message)":"((?:[^"\\]|\\.)*)"/.exec(answer);
  if (response.statusCode === 200 && !failed) return;
  const said = failed ? (JSON.parse(`"${failed[1]!}"`) as string) : `status ${response.statusCode ?? 0}`;
  throw new BuildError("LOAD_FAILED", `failed to load the image into Docker: ${said}`);
}

function post(address: string, signal: AbortSignal): ClientRequest {
  const how = {
    method: "POST",
    path: "/images/load?quiet=1",
    headers: { "content-type": "application/x-tar" },
    signal,
  };
  const [, scheme, rest] = /^([a-z]+):\/\/(.*)$/.exec(address) ?? [];
  if (scheme === "unix") return request({ ...how, socketPath: rest! });
  if (scheme !== "tcp" && scheme !== "http")
    throw new BuildError("DOCKER_UNREACHABLE", `--load: ${address} is not supported; use unix:// or tcp://`);
  try {
    return request(new URL(how.path, `http://${rest!}`), how);
  } catch (cause) {
    throw new BuildError("DOCKER_UNREACHABLE", `--load: ${address}: ${messageOf(cause)}`, { cause });
  }
}
