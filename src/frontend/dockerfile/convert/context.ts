// What every stage of one conversion shares: the request, the parsed file, the host and the places of the build
// context that instructions read.
import {
  source as llbSource,
  local,
  type Location,
  type Output,
  type Range,
  type SourceInfo,
} from "../../../llb/index.js";
import { PatternMatcher } from "../../../lib/index.js";
import type { FrontendHost, FrontendRequest } from "../../types.js";
import type { Linter } from "../lint/index.js";
import type { ExpandOptions } from "../shell/index.js";
import { eachLine } from "../source-error.js";
import type { Platform } from "../../../llb/index.js";

export class ConvertContext {
  readonly request: FrontendRequest;
  readonly host: FrontendHost;
  readonly targetPlatform: Platform;
  /** steps show their platform: the build is for several */
  readonly showPlatform: boolean;
  readonly excludes: readonly string[];
  readonly sourceInfo: SourceInfo;
  readonly shell: ExpandOptions;
  /** paths of the build context that are read; "/" means all of it */
  readonly contextPaths = new Set<string>();
  readonly epoch: Date | undefined;
  readonly lint: Linter;
  /** what .dockerignore says */
  readonly ignored: PatternMatcher;
  progressGroups = 0;
  #context: Output | undefined;
  readonly #isRemote: boolean;

  constructor(
    init: Pick<
      ConvertContext,
      | "request"
      | "host"
      | "targetPlatform"
      | "showPlatform"
      | "excludes"
      | "sourceInfo"
      | "shell"
      | "epoch"
      | "lint"
    > & { readonly remoteContext: Output | undefined },
  ) {
    this.request = init.request;
    this.host = init.host;
    this.targetPlatform = init.targetPlatform;
    this.showPlatform = init.showPlatform;
    this.excludes = init.excludes;
    this.sourceInfo = init.sourceInfo;
    this.shell = init.shell;
    this.epoch = init.epoch;
    this.lint = init.lint;
    this.#context = init.remoteContext;
    this.#isRemote = init.remoteContext !== undefined;
    this.ignored = new PatternMatcher(init.excludes);
  }

  /** The build context; what is read of it is settled by `sealContext`, after all instructions. */
  get buildContext(): Output {
    this.#context ??= placeholder();
    return this.#context;
  }

  /** Fills in the build context, now that all paths are known. */
  sealContext(): void {
    if (!this.#context || this.#isRemote) return;
    const { given: { contextName = "context" } = {} } = this.request;
    const real = local(
      contextName,
      {
        sessionId: sessionOf(this.request, contextName),
        sharedKeyHint: contextName,
        followPaths: followPaths(this.contextPaths),
        excludePatterns: this.excludes,
      },
      { customName: "[internal] load build context" },
    );
    Object.assign(this.#context.vertex, real.vertex);
  }

  locations(range: Range | undefined): readonly Location[] {
    return range === undefined ? [] : [{ sourceIndex: 0, ranges: eachLine(range) }];
  }
}

/** The session that lends a folder. */
export function sessionOf({ sessionId, localSessions = {} }: FrontendRequest, name: string): string {
  return localSessions[name] ?? sessionId;
}

function placeholder(): Output {
  return llbSource("local://context", {}, [], {});
}

/** `undefined`: everything. */
export function followPaths(paths: ReadonlySet<string>): string[] | undefined {
  if (paths.size === 0 || paths.has("/")) return undefined;
  return [...paths].map((path) => path.replace(/^\/+/, "")).sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
}
