// The command as one bundle with code splitting: it starts in a fraction of the time that loading packages one by one
// takes. Native modules stay outside, and what is hardly ever loaded.
import { rmSync } from "node:fs";
import { build } from "esbuild";

// chunks are named after their content
rmSync("dist/bin", { recursive: true, force: true });

await build({
  entryPoints: { bluekiln: "dist/cli/main.js", "tree-thread": "dist/worker/tree-thread.js" },
  outdir: "dist/bin",
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node20.19",
  chunkNames: "[name]-[hash]",
  external: ["koffi", "lmdb", "yaml", "@bokuweb/zstd-wasm"],
  banner: {
    js: 'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);',
  },
  legalComments: "none",
  logLevel: "warning",
});
