// COPY and ADD to file operations.
import { basename, posix } from "node:path";
import {
  file,
  merge,
  parseOwner,
  PLAIN_COPY,
  source as llbSource,
  type FileActionCopy,
  type FileRequest,
  type Output,
  type VertexOptions,
} from "../../../llb/index.js";
import type { Instruction, InstructionOf } from "../instructions/index.js";
import { gitSource, parseGitRef, type GitRef } from "../git-ref.js";
import { chompTabs, goQuote, type Heredoc } from "../parser/index.js";
import type { ConvertContext } from "./context.js";
import { expandLinted } from "./instruction-checks.js";
import { clean, resolvePath } from "./path.js";
import { commitHistory, type StageState } from "./stage-state.js";
import { commandText, stepName, stepNameAgain } from "./step-name.js";

export function dispatchCopy(
  context: ConvertContext,
  state: StageState,
  command: InstructionOf<"COPY"> | InstructionOf<"ADD">,
  from: Output | undefined,
  common: {
    readonly dest: string;
    readonly sources: readonly string[];
    readonly chown: string;
    readonly chmod: string;
  },
): void {
  const isAdd = command.kind === "ADD";
  const { flags } = command;
  const dest = resolvePath(state.dir, common.dest, true);
  const base: FileActionCopy = {
    ...PLAIN_COPY,
    createDestPath: true,
    dest,
    ...parseChmod(common.chmod),
    ...(common.chown !== "" && { owner: parseOwner(common.chown) }),
    excludePatterns: flags.exclude,
  };
  const platform = context.showPlatform ? state.platform : undefined;
  const text = commandText(
    `${command.fromOnbuild ? "ONBUILD " : ""}${command.original}`,
    state.env,
    context.shell,
  );
  const name = stepName(state, text, platform);

  if (isAdd && command.checksum !== "") checkChecksumUse(command.checksum, common.sources);
  const requests: FileRequest[] = [];
  let history = command.kind as string;
  if (flags.parents) history += " --parents";
  if (common.chown !== "") history += ` --chown=${common.chown}`;
  if (common.chmod !== "") history += ` --chmod=${common.chmod}`;
  for (const path of common.sources) {
    history += ` ${path}`;
    const git = parseGitRef(path);
    if (git && !git.looksLocal) {
      if (command.kind !== "ADD") throw new Error("source can't be a git ref for COPY");
      requests.push(fromGit(git, command, base, name));
      continue;
    }
    if (/^https?:\/\//.test(path)) {
      if (!isAdd) throw new Error("source can't be a URL for COPY");
      requests.push(fromUrl(path, command, base, name));
      continue;
    }
    requests.push(fromFiles(path, from, base, flags.parents, isAdd && (command.unpack ?? true)));
  }
  for (const heredoc of command.heredocs) {
    history += ` <<${heredoc.name}`;
    requests.push(fromHeredoc(heredoc, base, context, state, command));
  }
  history += ` ${common.dest}`;

  const options: VertexOptions = {
    customName: name,
    ignoreCache: state.noCache,
    locations: context.locations(command.range),
  };
  if (flags.link && common.chmod === "") {
    const id = `progress-group-${++context.progressGroups}`;
    const linked = file(undefined, requests, { ...options, progressGroup: { id, name, weak: true } });
    state.output = merge([state.output, linked], {
      ...options,
      customName: stepNameAgain(state, `LINK ${text}`, platform),
      progressGroup: { id, name, weak: false },
    });
  } else {
    state.output = file(state.output, requests, options);
  }
  commitHistory(state, `${history} # buildkit`, true);
}

function fromFiles(
  path: string,
  from: Output | undefined,
  base: FileActionCopy,
  parents: boolean,
  unpack: boolean,
): FileRequest {
  let src = path;
  let includePatterns: string[] = [];
  let requiredPaths: string[] = [];
  if (parents) {
    const pivot = path.indexOf("/./");
    const pattern = resolvePath("/", pivot < 0 ? path : path.slice(pivot + 3), false);
    src = pivot < 0 ? "/" : path.slice(0, pivot);
    includePatterns = [pattern.replace(/^\//, "")];
    if (!/[*?[\\]/.test(pattern)) requiredPaths = [posix.join("/", src, pattern)];
  }
  return {
    kind: "copy",
    source: from,
    copy: {
      ...base,
      src: resolvePath("/", src, false),
      followSymlink: true,
      dirCopyContents: true,
      attemptUnpackDockerCompatibility: unpack,
      allowWildcard: true,
      allowEmptyWildcard: true,
      includePatterns,
      requiredPaths,
    },
  };
}

/** @throws Error in BuildKit's words */
function checkChecksumUse(checksum: string, sources: readonly string[]): void {
  if (sources.length !== 1) throw new Error("checksum can't be specified for multiple sources");
  const git = parseGitRef(sources[0]!);
  if (git && !git.looksLocal) return;
  if (!/^https?:\/\//.test(sources[0]!)) throw new Error("checksum requires HTTP(S) or Git sources");
  const [, algorithm, hex] = /^([^:]+):(.+)$/s.exec(checksum) ?? [];
  const length = { sha256: 64, sha384: 96, sha512: 128 }[algorithm ?? ""];
  if (hex === undefined) throw new Error("invalid checksum digest format");
  if (length === undefined) throw new Error("unsupported digest algorithm");
  if (hex.length !== length) throw new Error("invalid checksum digest length");
  if (!/^[0-9a-f]+$/.test(hex)) throw new Error("invalid checksum digest format");
}

function fromGit(
  git: GitRef,
  command: InstructionOf<"ADD">,
  base: FileActionCopy,
  name: string,
): FileRequest {
  const { keepGitDir, checksum } = command;
  if (keepGitDir !== undefined && git.keepGitDir !== undefined && keepGitDir !== git.keepGitDir)
    throw new Error("inconsistent keep-git-dir configuration");
  if (checksum !== "" && git.checksum !== "" && checksum !== git.checksum)
    throw new Error(`checksum mismatch ${goQuote(checksum)} != ${goQuote(git.checksum)}`);
  const ref = { ...git, checksum: git.checksum === "" ? checksum : git.checksum };
  const source = gitSource(ref, git.keepGitDir ?? keepGitDir ?? false, { customName: name });
  return { kind: "copy", source, copy: { ...base, src: "/" } };
}

/** What a file is called that comes without a name. */
const UNNAMED = "__unnamed__";

/** The last part of a URL's path, decoded. */
function filenameOf(url: string): string {
  const path = /^[^:]+:\/\/[^/?#]*([^?#]*)/.exec(url)?.[1] ?? "";
  let last;
  try {
    last = basename(decodeURIComponent(path));
  } catch {
    return UNNAMED;
  }
  return last === "" || last === "." ? UNNAMED : last;
}

function fromUrl(
  url: string,
  command: InstructionOf<"COPY"> | InstructionOf<"ADD">,
  base: FileActionCopy,
  name: string,
): FileRequest {
  const filename = filenameOf(url);
  const checksum = command.kind === "ADD" ? command.checksum : "";
  const attrs: Record<string, string> = { "http.filename": filename };
  const caps = ["source.http"];
  if (checksum !== "") {
    attrs["http.checksum"] = checksum;
    caps.push("source.http.checksum");
  }
  const http = llbSource(url, attrs, caps, {
    customName: name,
    description: { "com.docker.dockerfile.v1.command": "" },
  });
  const unpack = command.kind === "ADD" && command.unpack === true;
  return {
    kind: "copy",
    source: http,
    copy: { ...base, src: resolvePath("/", filename, false), attemptUnpackDockerCompatibility: unpack },
  };
}

function fromHeredoc(
  heredoc: Heredoc,
  base: FileActionCopy,
  context: ConvertContext,
  state: StageState,
  command: Instruction,
): FileRequest {
  let data = heredoc.chomp ? chompTabs(heredoc.content) : heredoc.content;
  // the escape directive is not for them
  const shell = { escape: "\\", ignoreQuotes: true };
  if (heredoc.expand) data = expandLinted(state, command, data, context, shell);
  const document = inlineDocument(heredoc.name, data, 0o644);
  return { kind: "copy", source: document, copy: { ...base, src: clean(`/${heredoc.name}`) } };
}

/** A file with the text of a here-document. */
export function inlineDocument(name: string, data: string, mode: number): Output {
  const mkfile = { path: clean(`/${name}`), mode, data: Buffer.from(data), timestamp: -1n };
  return file(undefined, [{ kind: "mkfile", mkfile }], {
    customName: "[internal] preparing inline document",
  });
}

function parseChmod(text: string): Partial<FileActionCopy> {
  if (text === "") return {};
  const invalid = new Error(
    `invalid chmod parameter: '${text}'. it should be octal string and between 0 and 07777`,
  );
  if (/^[0-7]+$/.test(text)) {
    const mode = parseInt(text, 8);
    if (mode > 0o7777) throw invalid;
    return { mode };
  }
  if (!/^([ugoa]*([-+=]([rwxXst]*|[ugo]))+)(,[ugoa]*([-+=]([rwxXst]*|[ugo]))+)*$/.test(text)) throw invalid;
  return { mode: 0, modeStr: text };
}
