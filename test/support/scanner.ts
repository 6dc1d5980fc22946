// A scanner of what is in an image, as BuildKit's protocol has it: it says the names of the files.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { bluekilnAside, makeContext, type Services } from "./services.js";

const SCRIPT = `set -e
scan() {
  files=
  for file in $(ls "$1"); do files="$files$\{files:+, }{ \\"fileName\\": \\"/$file\\" }"; done
  cat > "$BUILDKIT_SCAN_DESTINATION/$(basename "$1").spdx.json" <<END
{
  "_type": "https://in-toto.io/Statement/v0.1",
  "predicateType": "https://spdx.dev/Document",
  "predicate": { "spdxVersion": "SPDX-2.3", "files": [$files], "comment": "$BUILDKIT_SCAN_COLOR" }
}
END
}
scan "$BUILDKIT_SCAN_SOURCE"
if [ -n "$BUILDKIT_SCAN_SOURCE_EXTRAS" ]; then
  for extra in "$BUILDKIT_SCAN_SOURCE_EXTRAS"/*; do scan "$extra"; done
fi
`;

/** @returns its image */
export async function pushScanner(services: Services): Promise<string> {
  const name = `${services.registry}/scanner:1`;
  const context = makeContext(services.work, {
    Dockerfile: `FROM ${services.base}\nCOPY scan.sh /\nENTRYPOINT ["sh", "/scan.sh"]\n`,
    "scan.sh": SCRIPT,
  });
  const args = ["build", "--push", "-t", name, "--state-dir", join(services.work, "scanner-state"), context];
  const { status, stderr } = await bluekilnAside(args);
  if (status !== 0) throw new Error(stderr);
  return name;
}

export interface SpdxDocument {
  readonly files: readonly { readonly fileName: string; readonly comment?: string }[];
  readonly comment: string;
}

/** What it said, in a file of a local output. */
export function readSbom(folder: string, file: string): { files: string[]; color: string } {
  const { predicate } = JSON.parse(readFileSync(join(folder, file), "utf8")) as {
    readonly predicate: SpdxDocument;
  };
  return { files: predicate.files.map(({ fileName }) => fileName), color: predicate.comment };
}
