// Shell patterns (*, ?, escapes) as regular expressions, and the ${x#pattern} family on top of them.

/** @throws Error if the pattern ends in an escape */
export function toRegExp(pattern: string, greedy: boolean, flags = ""): RegExp {
  return new RegExp(source(pattern, greedy), `s${flags}u`);
}

function source(pattern: string, greedy: boolean): string {
  let result = "";
  const chars = [...pattern];
  for (let i = 0; i < chars.length; i++) {
    const c = chars[i]!;
    if (c === "*") result += greedy ? ".*" : ".*?";
    else if (c === "?") result += ".";
    else if (c === "\\") {
      const escaped = chars[++i];
      if (escaped === undefined) throw new Error("invalid escape '\\'");
      if (!"*?\\/".includes(escaped)) throw new Error(`invalid escape '\\${escaped}'`);
      result += `\\${escaped}`;
    } else result += c.replace(/[.+^${}()|[\]/]/g, "\\$&");
  }
  return result;
}

export function trimPrefix(pattern: string, value: string, greedy: boolean): string {
  return value.replace(new RegExp(`^${source(pattern, greedy)}`, "su"), "");
}

export function trimSuffix(pattern: string, value: string, greedy: boolean): string {
  // the shortest or longest suffix: reverse the text, so that a prefix is looked for
  const reversed = [...value].reverse().join("");
  const units = [...pattern.matchAll(/\\[\s\S]|[\s\S]/gu)]
    .map((match) => match[0])
    .reverse()
    .join("");
  return [...trimPrefix(units, reversed, greedy)].reverse().join("");
}
