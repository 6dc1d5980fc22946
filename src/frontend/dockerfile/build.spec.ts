// Facts that the recordings do not tell, each found beside BuildKit.
import { describe, expect, it } from "vitest";
import { digestOf, messageOf } from "../../lib/index.js";
import type { FrontendHost, FrontendRequest, FrontendWarning } from "../types.js";
import { buildDockerfile } from "./build.js";
import type { SourceError } from "./source-error.js";

const PLATFORM = { OS: "linux", Architecture: "amd64", Variant: "", OSVersion: "", OSFeatures: [] };
const REQUEST: FrontendRequest = {
  context: "",
  filename: "Dockerfile",
  hasOwnDockerfile: false,
  target: "",
  buildArgs: {},
  labels: {},
  platforms: [],
  buildPlatform: PLATFORM,
  noCache: false,
  pull: false,
  contexts: {},
  addHosts: [],
  network: "default",
  shmSize: 0,
  ulimits: [],
  cgroupParent: "",
  sessionId: "s",
};

/** Lends files, and has no images. */
function host(files: Readonly<Record<string, string | undefined>>): FrontendHost {
  return {
    resolveImage: (reference) => Promise.reject(new Error(`no image ${reference}`)),
    readFiles: async (_, paths) =>
      new Map(
        Object.entries(files).flatMap(([name, text]) =>
          text !== undefined && paths.includes(name) ? [[name, Buffer.from(text)]] : [],
        ),
      ),
  };
}

/** @returns what the linter says, or what is wrong */
async function build(lines: readonly string[], ignore?: string): Promise<string[] | string> {
  const files = { Dockerfile: `${lines.join("\n")}\n`, ".dockerignore": ignore };
  const said: FrontendWarning[] = [];
  try {
    await buildDockerfile(REQUEST, host(files), (warnings) => said.push(...warnings));
  } catch (error) {
    return messageOf(error);
  }
  return said.map(({ rule, detail }) => `${rule}: ${detail}`);
}

describe("several platforms", () => {
  const platform = (
    multiPlatform: string | undefined,
    count: number,
    argument = "",
  ): Promise<boolean | string> =>
    buildDockerfile(
      {
        ...REQUEST,
        multiPlatform,
        platforms: Array.from({ length: count }, () => PLATFORM),
        buildArgs: { BUILDKIT_MULTI_PLATFORM: argument },
      },
      host({ Dockerfile: "FROM scratch\n" }),
      () => undefined,
    ).then((outcome) => outcome.multiPlatform, messageOf);

  it("are a result of several, and one if it is asked for", async () => {
    expect(await platform(undefined, 2)).toBe(true);
    expect(await platform(undefined, 1)).toBe(false);
    expect(await platform("true", 1)).toBe(true);
    expect(await platform("false", 1, "1")).toBe(true);
  });

  it("are refused where that was asked for", async () => {
    const problem = "conflicting config: returning multiple target platforms is not allowed";
    expect(await platform("false", 2)).toBe(problem);
    expect(await platform("no", 2)).toBe("invalid boolean value for multi-platform: no");
  });
});

describe("a Dockerfile", () => {
  it("without a byte says so", async () => {
    const built = buildDockerfile(REQUEST, host({ Dockerfile: "" }), () => undefined);
    expect(await built.catch(messageOf)).toBe("the Dockerfile cannot be empty");
  });

  it("with a circle says where it begins, and the last instruction of each that is in it", async () => {
    const circle =
      "FROM scratch AS a\nCOPY --from=b x /\nFROM scratch AS b\nCOPY --from=b x /\nCOPY --from=b y /\n";
    const built = buildDockerfile(REQUEST, host({ Dockerfile: circle }), () => undefined);
    const error = await built.catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ message: "circular dependency detected on stage: a" });
    expect((error as SourceError).places.map(([range]) => range!.start.line)).toEqual([5, 2]);
  });
});

describe("FROM", () => {
  it("takes an image that is named as it is, of whatever platform", async () => {
    const contexts = { base: { kind: "image", reference: "alpine" } } as const;
    const config = JSON.stringify({ os: "linux", architecture: "arm64", rootfs: { diff_ids: ["sha256:1"] } });
    const lent = host({ Dockerfile: "FROM base\n" });
    const names: string[] = [];
    const said: FrontendWarning[] = [];
    const { results } = await buildDockerfile(
      { ...REQUEST, contexts },
      {
        ...lent,
        resolveImage: (reference, { logName }) => {
          names.push(logName);
          return Promise.resolve({
            reference,
            digest: digestOf(Buffer.from(config)),
            config: Buffer.from(config),
          });
        },
      },
      (warnings) => said.push(...warnings),
    );
    expect(said).toEqual([]);
    expect(names).toEqual(["[context base] load metadata for alpine"]);
    const [source] = results[0]!.definition!.ops;
    expect(source!.metadata.description["llb.customname"]).toBe("[context base] alpine");
  });

  it("finds a stage by its name in lower case only", async () => {
    expect(await build(["FROM scratch AS Base", "COPY a /", "FROM base", "COPY b /"])).toEqual([
      "StageNameCasing: Stage name 'Base' should be lowercase",
    ]);
    expect(await build(["FROM scratch AS Base", "COPY a /", "FROM Base"])).toContain(
      "repository name (library/Base) must be lowercase",
    );
    // needed or not
    expect(await build(["FROM scratch AS Base", "COPY a /", "FROM Base", "FROM scratch"])).toContain(
      "repository name (library/Base) must be lowercase",
    );
    expect(await build(["FROM scratch AS base", "COPY a /", "FROM scratch", "COPY --from=BASE / /"])).toEqual(
      [],
    );
  });
});

describe("a named context", () => {
  it("is what a policy has in the place of its image", async () => {
    const contexts = { base: { kind: "image", reference: "alpine" } } as const;
    const lent = host({ Dockerfile: "FROM base\nLABEL a=b\n" });
    const asked: string[] = [];
    const allowedSource = (identifier: string): string => (asked.push(identifier), "local://folder");
    const { results } = await buildDockerfile(
      { ...REQUEST, contexts },
      { ...lent, allowedSource },
      () => undefined,
    );
    const sources = results[0]!.definition!.ops.flatMap(({ op, metadata }) =>
      op.kind === "source" ? [[op.source.identifier, metadata.description["llb.customname"]]] : [],
    );
    expect(sources).toEqual([["local://folder", "[context base] load from client"]]);
    expect(new Set(asked)).toEqual(new Set(["docker-image://docker.io/library/alpine:latest"]));
  });
});

describe("here-documents", () => {
  it("are looked through for variables that nothing has set", async () => {
    expect(await build(["FROM scratch", "ARG A=1", "COPY <<EOF /f", "$A $B", "EOF"])).toEqual([
      "UndefinedVar: Usage of undefined variable '$B' (did you mean $A?)",
    ]);
    expect(await build(["FROM scratch", "COPY <<'EOF' /f", "$B", "EOF"])).toEqual([]);
  });

  it("are not what half of a quoted name stands for", async () => {
    expect(await build(["FROM scratch", "COPY <<'E F' /h", "x", "E F"])).toContain(
      `failed to process "<<'E"`,
    );
  });
});

describe(".dockerignore", () => {
  it.each([
    ["a[", "syntax error in pattern"],
    ["!", 'illegal exclusion pattern: "!"'],
  ])("with the pattern %s ends the build", async (pattern, problem) => {
    expect(await build(["FROM scratch", "LABEL a=b"], `x\n${pattern}\n`)).toBe(problem);
  });
});
