// --debug-llb FILE: the definition as BuildKit's protobuf bytes, or readable where FILE ends in .json.
import { writeFile } from "node:fs/promises";
import { encodeDefinition, type Definition } from "../llb/index.js";

/** Builds for several platforms get one file each: FILE, FILE.1, ... */
export async function writeLlb(
  file: string,
  definitions: readonly (Definition | undefined)[],
): Promise<void> {
  await Promise.all(
    definitions.map(async (definition, i) => {
      const target = i === 0 ? file : `${file}.${i}`;
      if (!definition) return writeFile(target, "");
      return writeFile(target, file.endsWith(".json") ? readable(definition) : encodeDefinition(definition));
    }),
  );
}

function readable(definition: Definition): string {
  const ops = definition.ops.map(({ digest, op, metadata }) => ({ digest, op, metadata }));
  const plain = (_key: string, value: unknown): unknown => {
    if (typeof value === "bigint") return value.toString();
    return value instanceof Uint8Array ? Buffer.from(value).toString("base64") : value;
  };
  return `${JSON.stringify({ ops }, plain, 2)}\n`;
}
