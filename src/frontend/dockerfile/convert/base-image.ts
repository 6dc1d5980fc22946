// What a stage stands on: nothing, an image (its config is fetched, its layers are not), or a named context.
import {
  type Platform,
  definitionOutput,
  image as llbImage,
  local,
  marshal,
  ociLayout,
  source as llbSource,
  type Output,
} from "../../../llb/index.js";
import { redacted, wrapError } from "../../../lib/index.js";
import {
  familiarReference,
  formatReference,
  parseReference,
  withDefaultTag,
  type Reference,
} from "../../../registry/index.js";
import type { FrontendHost, FrontendRequest, NamedContext, ResolvedImage } from "../../types.js";
import { readIgnoreFile } from "../ignore.js";
import { gitContext } from "../remote-context.js";
import { withLocation } from "../source-error.js";
import { followPaths, sessionOf, type ConvertContext } from "./context.js";
import { emptyImage, parseImageConfig } from "./image-config.js";
import { formatPlatform } from "./platform.js";
import type { StageState } from "./stage-state.js";
import { stepName } from "./step-name.js";

export const SCRATCH = "scratch";

/** A named context that is an image. */
interface NamedImage {
  readonly name: string;
  /** what it stands for */
  readonly baseName: string;
  readonly context: Extract<NamedContext, { readonly reference: string }>;
}

export interface BaseInput {
  readonly request: FrontendRequest;
  readonly host: FrontendHost;
  readonly showPlatform: boolean;
}

export class BaseResolver {
  readonly #input: BaseInput;
  readonly #context: ConvertContext;
  /** an image's ONBUILD instructions */
  readonly #onTriggers: (state: StageState, triggers: readonly string[] | undefined) => void;
  /** what instructions read of a named context that is a folder */
  readonly #localContexts = new Map<
    StageState,
    {
      readonly name: string;
      /** of the client */
      readonly folder: string;
      readonly excludes: readonly string[];
      readonly paths: Set<string>;
      /** settled by `sealLocalContexts` */
      readonly output: Output;
    }
  >();

  constructor(
    input: BaseInput,
    context: ConvertContext,
    onTriggers: (state: StageState, triggers: readonly string[] | undefined) => void,
  ) {
    this.#input = input;
    this.#context = context;
    this.#onTriggers = onTriggers;
  }

  /** An instruction reads `path` of what `state` stands for. */
  reads(state: StageState, path: string): void {
    for (let at: StageState | undefined = state; at; at = at.base)
      this.#localContexts.get(at)?.paths.add(path);
  }

  /** One for the platform ("NAME::linux/arm64") before one for all, with its name. */
  namedContext(
    name: string,
    platform: Platform,
  ): { readonly name: string; readonly context: NamedContext } | undefined {
    const { contexts } = this.#input.request;
    const suffix = `::${formatPlatform(platform)}`;
    let familiar = name;
    try {
      familiar = familiarReference(withDefaultTag(parseReference(name))).replace(/:latest$/, "");
    } catch {
      // not a reference: looked up as it is
    }
    const [given, plain] = [name.toLowerCase(), familiar.toLowerCase()];
    const found = [given + suffix, plain + suffix, given, plain].find((key) => contexts[key] !== undefined);
    return found === undefined ? undefined : { name: found, context: contexts[found]! };
  }

  /** What no stage is has to be a reference, needed or not. @throws BuildError REFERENCE_INVALID */
  check({ stage }: StageState): void {
    if (stage.baseName === SCRATCH) return;
    try {
      parseStageName(stage.baseName);
    } catch (error) {
      throw withLocation(error, [stage.range]);
    }
  }

  /** Fetches the config of the image a stage stands on. */
  async resolve(state: StageState): Promise<void> {
    const { baseName } = state.stage;
    if (baseName === SCRATCH) {
      state.image = emptyImage(state.platform);
      return;
    }
    try {
      const named = this.namedContext(baseName, state.platform);
      if (!named) return await this.#useImage(state, baseName, undefined);
      const { name } = named;
      const context = this.#allowed(named.context);
      if (context.kind === "local") return await this.#useLocalContext(state, name, context.name);
      if (context.kind === "input") return this.#useInput(state, context);
      if (context.kind === "remote") return this.#useRemoteContext(state, name, context.url);
      if (context.kind === "image" && context.reference === SCRATCH) {
        state.image = emptyImage(state.platform);
        return;
      }
      await this.#useImage(state, context.reference, { name, baseName, context });
    } catch (error) {
      throw withLocation(error, [state.stage.range]);
    }
  }

  /** A policy may have a folder, a repository or a URL in the place of an image. */
  #allowed(context: NamedContext): NamedContext {
    const { host } = this.#input;
    if (context.kind !== "image" || context.reference === SCRATCH || !host.allowedSource) return context;
    const reference = formatReference(withDefaultTag(parseReference(context.reference)));
    const identifier = host.allowedSource(`docker-image://${reference}`);
    const [scheme, rest] = identifier.split(/:\/\/(.*)/s);
    if (scheme === "docker-image") return context;
    return scheme === "local" ? { kind: "local", name: rest! } : { kind: "remote", url: identifier };
  }

  async #useImage(state: StageState, name: string, named: NamedImage | undefined): Promise<void> {
    const { host, request, showPlatform } = this.#input;
    const given = parseStageName(name);
    const reference =
      named?.context.kind === "layout"
        ? // the store's name is the client's business
          { ...parseStageName(named.baseName), tag: undefined, digest: given.digest }
        : withDefaultTag(given);
    const text = formatReference(reference);
    const { platform } = state;
    const resolveMode = request.pull ? "pull" : "default";
    const prefix =
      named === undefined
        ? `[${showPlatform ? `${formatPlatform(platform)} ` : ""}internal]`
        : `[context ${named.name}]`;
    let resolved;
    try {
      resolved = await host.resolveImage(text, {
        platform,
        resolveMode,
        layout: named?.context.kind === "layout" ? named.context.store : undefined,
        logName: `${prefix} load metadata for ${named?.context.kind === "image" ? name : text}`,
      });
    } catch (error) {
      throw named ? error : wrapError(error, "IMAGE_UNRESOLVED", name);
    }
    state.image = parseImageConfig(resolved.config);
    if (!named) this.#checkPlatform(state, name);
    state.baseConfig = Buffer.from(resolved.config).toString();
    const triggers = state.image.config.OnBuild;
    delete state.image.config.OnBuild;
    this.#setImageOutput(state, reference, resolved, named);
    this.#onTriggers(state, triggers);
  }

  #checkPlatform({ image, platform, stage }: StageState, name: string): void {
    const actual = { OS: image.os, Architecture: image.architecture, Variant: image.variant ?? "" };
    if (actual.OS === platform.OS && actual.Architecture === platform.Architecture) return;
    const [pulled, expected] = [formatPlatform(actual), formatPlatform(platform)];
    const detail = `Base image ${name} was pulled with platform "${pulled}", expected "${expected}" for current build`;
    this.#context.lint.warn("InvalidBaseImagePlatform", stage.range, detail);
  }

  #setImageOutput(
    state: StageState,
    reference: Reference,
    resolved: ResolvedImage,
    named: NamedImage | undefined,
  ): void {
    const { request, showPlatform } = this.#input;
    const { platform } = state;
    const text = formatReference(reference);
    const resolveMode = request.pull ? "pull" : "default";
    const diffIds = state.image.rootfs.diff_ids ?? [];
    if (diffIds.length === 0 && state.image.history.every((entry) => entry.empty_layer === true)) return;
    if (named) {
      const { name, context } = named;
      const source = context.kind === "layout" ? "OCI load from client" : context.reference;
      const options = { platform, customName: `[context ${name}] ${source}` };
      state.output =
        context.kind === "layout"
          ? ociLayout(text, context.store, request.sessionId, options)
          : llbImage(text, resolveMode, options);
      return;
    }
    const pinned = formatReference({ ...reference, digest: resolved.digest });
    state.output = llbImage(pinned, resolveMode, {
      platform,
      customName: stepName(state, `FROM ${pinned}`, showPlatform ? platform : undefined),
      description: { "com.docker.dockerfile.v1.command": state.stage.sourceCode },
      locations: state.fromMount
        ? [{ sourceIndex: 0, ranges: [] }]
        : this.#context.locations(state.stage.range),
    });
  }

  /** @param folder of the client */
  async #useLocalContext(state: StageState, name: string, folder: string): Promise<void> {
    const { host, request } = this.#input;
    const sessionId = sessionOf(request, folder);
    const hint = `context:${name}-`;
    const ignore = local(
      folder,
      { sessionId, sharedKeyHint: `${hint}.dockerignore`, followPaths: [".dockerignore"], differ: "none" },
      { customName: `[context ${name}] load .dockerignore` },
    );
    const files = await host.readFiles(marshal(ignore), [".dockerignore"]);
    const excludes = readIgnoreFile(files.get(".dockerignore"));
    const output = local(folder, { sessionId, sharedKeyHint: hint }, {});
    this.#localContexts.set(state, { name, folder, excludes, paths: new Set(), output });
    state.image = emptyImage(state.platform);
    state.output = output;
  }

  #useInput(state: StageState, { definition, config }: Extract<NamedContext, { kind: "input" }>): void {
    state.image = config === undefined ? emptyImage(state.platform) : parseImageConfig(Buffer.from(config));
    const triggers = state.image.config.OnBuild;
    delete state.image.config.OnBuild;
    if (definition) state.output = definitionOutput(definition);
    this.#onTriggers(state, triggers);
  }

  #useRemoteContext(state: StageState, name: string, url: string): void {
    state.image = emptyImage(state.platform);
    state.output =
      gitContext(url, false) ??
      llbSource(url, {}, ["source.http"], { customName: `[context ${name}] ${redacted(url)}` });
  }

  sealLocalContexts(): void {
    for (const { name, folder, excludes, paths, output } of this.#localContexts.values()) {
      const real = local(
        folder,
        {
          sessionId: sessionOf(this.#input.request, folder),
          sharedKeyHint: `context:${name}-`,
          followPaths: followPaths(paths),
          excludePatterns: excludes,
        },
        { customName: `[context ${name}] load from client` },
      );
      Object.assign(output.vertex, real.vertex);
    }
  }
}

function parseStageName(name: string): Reference {
  try {
    return parseReference(name);
  } catch (error) {
    throw wrapError(error, "REFERENCE_INVALID", `failed to parse stage name ${JSON.stringify(name)}`);
  }
}
