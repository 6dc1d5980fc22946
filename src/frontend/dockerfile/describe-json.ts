// Descriptions as the JSON of BuildKit's subrequests (result.json of lint, outline and targets).
// Source of the format: check.json, outline.json and targets.json of the recordings.
import type { GoValue } from "../../lib/index.js";
import type { Range } from "../../llb/index.js";
import type { Call, Description, OutlineCredential } from "../types.js";
import { eachLine } from "./source-error.js";

export function descriptionJson(description: Description): GoValue {
  const { filename, data } = description.source;
  const text = Buffer.from(data).toString("base64");
  switch (description.kind) {
    case "check": {
      const { warnings, error } = description;
      return {
        warnings:
          warnings.length === 0
            ? null
            : warnings.map(({ rule, description: about, url, detail, ranges }) => ({
                ruleName: rule,
                description: about,
                url,
                detail,
                location: location(ranges),
              })),
        sources: [{ filename, language: "Dockerfile", data: text }],
        buildError: error && { message: error.message, location: location(error.ranges) },
      };
    }
    case "outline": {
      const { name, description: about, args, secrets, agents } = description.outline;
      return {
        name: name || undefined,
        description: about || undefined,
        args: nonEmpty(
          args.map((arg) => ({
            name: arg.name,
            description: arg.description || undefined,
            value: arg.value || undefined,
            location: location(eachLine(arg.range)),
          })),
        ),
        secrets: nonEmpty(secrets.map(credential)),
        ssh: nonEmpty(agents.map(credential)),
        sources: [text],
      };
    }
    case "targets":
      return {
        targets: description.targets.map((target) => ({
          name: target.name || undefined,
          default: target.isDefault || undefined,
          description: target.description || undefined,
          base: target.base || undefined,
          platform: target.platform || undefined,
          location: location(eachLine(target.range)),
        })),
        sources: [text],
      };
  }
}

function credential({ name, isRequired, range }: OutlineCredential): GoValue {
  return { name, required: isRequired || undefined, location: location(eachLine(range)) };
}

function location(ranges: readonly Range[]): GoValue {
  return {
    ranges: nonEmpty(ranges.map(({ start, end }) => ({ start: position(start), end: position(end) }))),
  };
}

function position({ line, character }: Range["start"]): GoValue {
  return { line: line || undefined, character: character || undefined };
}

function nonEmpty(list: GoValue[]): GoValue[] | undefined {
  return list.length > 0 ? list : undefined;
}

interface LocationJson {
  readonly ranges?: readonly {
    readonly start?: Partial<Range["start"]>;
    readonly end?: Partial<Range["end"]>;
  }[];
}

interface NamedJson {
  readonly name?: string;
  readonly description?: string;
  readonly location?: LocationJson;
}

interface DescriptionJson {
  readonly warnings?:
    | readonly {
        readonly ruleName?: string;
        readonly description?: string;
        readonly url?: string;
        readonly detail?: string;
        readonly location?: LocationJson;
      }[]
    | null;
  readonly buildError?: { readonly message?: string; readonly location?: LocationJson };
  /** of a check with names, else just their bytes; base64 */
  readonly sources?: readonly (string | { readonly filename?: string; readonly data?: string })[];
  readonly name?: string;
  readonly description?: string;
  readonly args?: readonly (NamedJson & { readonly value?: string })[];
  readonly secrets?: readonly (NamedJson & { readonly required?: boolean })[];
  readonly ssh?: readonly (NamedJson & { readonly required?: boolean })[];
  readonly targets?: readonly (NamedJson & {
    readonly default?: boolean;
    readonly base?: string;
    readonly platform?: string;
  })[];
}

/** The way back: what another builder's frontend says. @param filename where the JSON names none */
export function descriptionOf(call: Call, text: string, filename: string): Description {
  const json = JSON.parse(text) as DescriptionJson;
  const [first] = json.sources ?? [];
  const file = typeof first === "object" ? first : { filename, data: first };
  const data = Buffer.from(file.data ?? "", "base64");
  const source = { filename: file.filename ?? filename, data, language: "Dockerfile" };
  const named = ({ name = "", description = "", location: where }: NamedJson) => ({
    name,
    description,
    range: wholeRange(where),
  });
  switch (call) {
    case "check": {
      const { buildError } = json;
      const warnings = (json.warnings ?? []).map((warning) => ({
        rule: warning.ruleName ?? "",
        description: warning.description ?? "",
        url: warning.url ?? "",
        detail: warning.detail ?? "",
        ranges: rangesOf(warning.location),
      }));
      const error = buildError && {
        message: buildError.message ?? "",
        ranges: rangesOf(buildError.location),
      };
      return { kind: call, source, warnings, error };
    }
    case "outline": {
      const credentials = (list: DescriptionJson["secrets"] = []): OutlineCredential[] =>
        list.map((one) => ({ ...named(one), isRequired: one.required ?? false }));
      const { name = "", description = "", args = [], secrets, ssh } = json;
      const outline = {
        name,
        description,
        args: args.map((arg) => ({ ...named(arg), value: arg.value ?? "" })),
        secrets: credentials(secrets),
        agents: credentials(ssh),
      };
      return { kind: call, source, outline };
    }
    case "targets": {
      const targets = (json.targets ?? []).map((target) => ({
        ...named(target),
        isDefault: target.default ?? false,
        base: target.base ?? "",
        platform: target.platform ?? "",
      }));
      return { kind: call, source, targets };
    }
  }
}

function rangesOf({ ranges = [] }: LocationJson = {}): Range[] {
  const at = ({ line = 0, character = 0 }: Partial<Range["start"]> = {}) => ({ line, character });
  return ranges.map(({ start, end }) => ({ start: at(start), end: at(end) }));
}

/** BuildKit records one range a line. */
function wholeRange(location: LocationJson | undefined): Range {
  const ranges = rangesOf(location);
  const nowhere = { line: 0, character: 0 };
  return { start: ranges[0]?.start ?? nowhere, end: ranges.at(-1)?.end ?? nowhere };
}
