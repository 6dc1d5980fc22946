// Which builder a command is for: --builder, BUILDX_BUILDER, the one in use, else this process itself.
import { Engine, type Builder } from "../builder/index.js";
import { BuildError } from "../lib/index.js";
import { DockerCredentials } from "../registry/index.js";
import { BuilderStore, type BuilderInstance, type BuilderNode } from "./builder-store.js";
import { engineOptions } from "./engine.js";
import type { ParsedFlags } from "./flags.js";

type Environment = Readonly<Record<string, string | undefined>>;

/** The builder that is always there: this process. */
export const DEFAULT_BUILDER = "default";

export type ChosenBuilder =
  | { readonly driver: "embedded"; readonly name: string }
  | { readonly driver: "remote"; readonly name: string; readonly node: BuilderNode };

/**
 * @param note told of what users may not expect
 * @throws BuildError BUILDER_UNKNOWN, BUILDER_UNSUPPORTED
 */
export function chooseBuilder(
  flags: ParsedFlags,
  env: Environment,
  note: (text: string) => void = () => undefined,
): ChosenBuilder {
  const name = flags.string("builder") || env["BUILDX_BUILDER"] || "";
  if (name === DEFAULT_BUILDER) return { driver: "embedded", name };
  if (name.includes("://")) return { driver: "remote", name, node: nodeAt(name) };
  const store = new BuilderStore(env);
  if (name !== "") {
    const instance = store.get(name);
    if (!instance) throw new BuildError("BUILDER_UNKNOWN", `no builder "${name}" found`);
    return chosen(instance);
  }
  const current = store.current();
  if (!current) return { driver: "embedded", name: DEFAULT_BUILDER };
  if (current.Driver !== "remote") {
    note(
      `builder "${current.Name}" is in use, but its driver ${current.Driver} is not supported yet; building without it`,
    );
    return { driver: "embedded", name: DEFAULT_BUILDER };
  }
  return chosen(current);
}

export function nodeAt(address: string): BuilderNode {
  return { Name: address, Endpoint: address, Platforms: null, DriverOpts: null, Flags: null, Files: null };
}

/** @throws BuildError BUILDER_UNSUPPORTED */
export function chosen({ Name, Driver, Nodes }: BuilderInstance): ChosenBuilder {
  checkDriver(Driver);
  const [node, ...more] = Nodes;
  if (!node || more.length > 0)
    throw new BuildError(
      "BUILDER_UNSUPPORTED",
      `builder "${Name}" has ${Nodes.length} nodes; builders of one node are supported`,
    );
  return { driver: "remote", name: Name, node };
}

/** @throws BuildError BUILDER_UNSUPPORTED for all but "remote" */
export function checkDriver(driver: string): void {
  if (driver === "remote") return;
  if (driver === "docker")
    throw new BuildError(
      "BUILDER_UNSUPPORTED",
      "Cache export is not supported for the docker driver. Switch to a different driver, and try again: " +
        "bluekiln create --use --driver remote ENDPOINT, or build here with --builder default. " +
        "Learn more at https://docs.docker.com/go/build-cache-backends/",
    );
  if (driver === "docker-container" || driver === "kubernetes")
    throw new BuildError(
      "BUILDER_UNSUPPORTED",
      `driver "${driver}" is not supported yet; use --driver remote with the address of a daemon, or --builder default`,
    );
  throw new BuildError("BUILDER_UNSUPPORTED", `failed to find driver "${driver}"`);
}

/** @throws BuildError BUILDER_UNREACHABLE, STATE_DIR_UNWRITABLE */
export async function openBuilder(
  builder: ChosenBuilder,
  flags: ParsedFlags,
  env: Environment,
): Promise<Builder> {
  if (builder.driver === "embedded") return new Engine(engineOptions(flags, env));
  const { name, node } = builder;
  const { RemoteBuilder } = await import("../control/index.js");
  const { cacert: ca, cert, key, servername: serverName } = node.DriverOpts ?? {};
  const tls = ca || cert || key || serverName ? { ca, cert, key, serverName } : undefined;
  return RemoteBuilder.connect(
    { address: node.Endpoint, ...(tls && { tls }) },
    { name, node: node.Name, credentials: new DockerCredentials(), environment: env },
  );
}
