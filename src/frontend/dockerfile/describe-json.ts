// Descriptions as the JSON of BuildKit's subrequests (result.json of lint, outline and targets).
// Source of the format: check.json, outline.json and targets.json of the recordings.
import type { GoValue } from "../../lib/index.js";
import type { Range } from "../../llb/index.js";
import type { Description, OutlineCredential } from "../types.js";
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
