// How long a step took, from progress as `--progress=rawjson` prints it.

/** @returns seconds of the first step whose name begins so; `undefined` if there is none */
export function stepTime(progress, step) {
  const vertices = progress.split("\n").flatMap((line) => {
    try {
      return JSON.parse(line).vertexes ?? [];
    } catch {
      return [];
    }
  });
  const found = vertices.find(({ name, completed }) => completed && name.startsWith(step));
  return found && (Date.parse(found.completed) - Date.parse(found.started)) / 1000;
}
