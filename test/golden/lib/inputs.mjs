// The inputs of a case as they were when it was recorded: types, modes, links and times of every entry.
import {
  chmodSync,
  copyFileSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { readJson } from "./corpus.mjs";

/** @returns the folders of the case below `target` */
export function writeInputs(testCase, target) {
  const spec = readJson(join(testCase.dir, "context.json"));
  const folders = {};
  for (const [name, entries] of Object.entries(spec.trees)) {
    const source =
      name === "context"
        ? join(testCase.dir, "context")
        : join(testCase.dir, "contexts", name.replace(/^contexts\//, ""));
    const folder = join(target, name);
    folders[name.replace(/^contexts\//, "")] = folder;
    writeTree(source, folder, entries, spec.mtime);
  }
  folders.context ??= join(target, "context");
  mkdirSync(folders.context, { recursive: true });
  let dockerfile = join(target, "dockerfile");
  if (testCase.dockerfileInContext) {
    dockerfile = folders.context;
    const file = join(dockerfile, "Dockerfile");
    copyFileSync(join(testCase.dir, "Dockerfile"), file);
    chmodSync(file, 0o644);
    utimesSync(file, spec.mtime, spec.mtime);
    utimesSync(dockerfile, spec.mtime, spec.mtime);
  } else {
    mkdirSync(dockerfile, { recursive: true });
    copyFileSync(join(testCase.dir, "Dockerfile"), join(dockerfile, "Dockerfile"));
    try {
      copyFileSync(
        join(testCase.dir, "Dockerfile.dockerignore"),
        join(dockerfile, "Dockerfile.dockerignore"),
      );
    } catch {
      // most cases have none
    }
  }
  return { ...folders, dockerfile };
}

function writeTree(source, folder, entries, mtime) {
  mkdirSync(folder, { recursive: true });
  for (const entry of entries) {
    const path = join(folder, entry.path);
    mkdirSync(dirname(path), { recursive: true });
    if (entry.type === "dir") mkdirSync(path, { recursive: true });
    else if (entry.type === "symlink") symlinkSync(entry.target, path);
    else if (entry.type === "hardlink") linkSync(join(folder, entry.target), path);
    else writeFileSync(path, readFileSync(join(source, entry.path)));
    if (entry.mode && entry.type !== "symlink" && entry.type !== "hardlink")
      chmodSync(path, parseInt(entry.mode, 8));
  }
  for (const entry of [...entries].reverse()) {
    const time = entry.mtime ?? mtime;
    lutimesSync(join(folder, entry.path), time, time);
  }
  chmodSync(folder, 0o755);
  utimesSync(folder, mtime, mtime);
}
