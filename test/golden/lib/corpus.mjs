// Reading the corpus: cases, their inputs and what was recorded. Format: test/golden/corpus/README.md.
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const DEFAULT_CORPUS = join(dirname(fileURLToPath(import.meta.url)), "..", "corpus");

export function readJson(file) {
  return JSON.parse(readFileSync(file, "utf8"));
}

/** All cases, with `recorded(name)` for the parsed recording and `bytes(name)` for its bytes. */
export function readCases(corpus) {
  return readdirSync(join(corpus, "cases"))
    .sort()
    .map((id) => {
      const dir = join(corpus, "cases", id);
      const recordedPath = (name) => join(dir, "expected", name);
      return {
        id,
        dir,
        ...readJson(join(dir, "case.json")),
        has: (name) => existsSync(recordedPath(name)),
        recorded: (name) => readJson(recordedPath(name)),
        bytes: (name) => readFileSync(recordedPath(name)),
        dockerfile: () => readFileSync(join(dir, "Dockerfile")),
      };
    });
}

/** The images of the corpus: reference -> { digest, manifest(platform), config bytes }. */
export function readImages(corpus) {
  const root = join(corpus, "images");
  const blob = (digest) => readFileSync(join(root, "blobs", "sha256", digest.slice("sha256:".length)));
  const index = readJson(join(root, "index.json"));
  const images = new Map();
  for (const entry of index.manifests) {
    const name = entry.annotations["org.opencontainers.image.ref.name"];
    images.set(`127.0.0.1:5000/${name}`, entry);
  }
  return { root, blob, images };
}
