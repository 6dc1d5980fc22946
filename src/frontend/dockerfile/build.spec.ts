// Facts that the recordings do not tell, each found beside BuildKit.
import { describe, expect, it } from "vitest";
import { messageOf } from "../../lib/index.js";
import type { FrontendHost, FrontendRequest, FrontendWarning } from "../types.js";
import { buildDockerfile } from "./build.js";

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

/** @returns what the linter says, or what is wrong */
async function build(lines: readonly string[], ignore?: string): Promise<string[] | string> {
  const files = { Dockerfile: `${lines.join("\n")}\n`, ".dockerignore": ignore };
  const host: FrontendHost = {
    resolveImage: (reference) => Promise.reject(new Error(`no image ${reference}`)),
    readFiles: async (_, paths) =>
      new Map(
        Object.entries(files).flatMap(([name, text]) =>
          text !== undefined && paths.includes(name) ? [[name, Buffer.from(text)]] : [],
        ),
      ),
  };
  const said: FrontendWarning[] = [];
  try {
    await buildDockerfile(REQUEST, host, (warnings) => said.push(...warnings));
  } catch (error) {
    return messageOf(error);
  }
  return said.map(({ rule, detail }) => `${rule}: ${detail}`);
}

describe("FROM", () => {
  it("finds a stage by its name in lower case only", async () => {
    expect(await build(["FROM scratch AS Base", "COPY a /", "FROM base", "COPY b /"])).toEqual([
      "StageNameCasing: Stage name 'Base' should be lowercase",
    ]);
    expect(await build(["FROM scratch AS Base", "COPY a /", "FROM Base"])).toContain(
      "repository name (library/Base) must be lowercase",
    );
    expect(await build(["FROM scratch AS base", "COPY a /", "FROM scratch", "COPY --from=BASE / /"])).toEqual(
      [],
    );
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
