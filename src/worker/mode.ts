// Symbolic modes as chmod takes them ("u=rwX,go=rX", "+x", "g=u,o="), without a umask.

const WHO = { u: 0o4700, g: 0o2070, o: 0o1007 } as const;

export function isSymbolicMode(text: string): boolean {
  return /^[ugoa]*([-+=]([ugo]|[rwxXst]*))+(,[ugoa]*([-+=]([ugo]|[rwxXst]*))+)*$/.test(text);
}

export function applySymbolicMode(text: string, mode: number, isFolder: boolean): number {
  let result = mode;
  for (const clause of text.split(",")) {
    const who = /^[ugoa]*/.exec(clause)![0];
    const targets = (who === "" || who.includes("a") ? "ugo" : who).split("") as ("u" | "g" | "o")[];
    for (const [, operator, permissions] of clause.slice(who.length).matchAll(/([-+=])([ugo]|[rwxXst]*)/g)) {
      const bits = targets.reduce((all, target) => all | bitsOf(permissions!, target, result, isFolder), 0);
      const mask = targets.reduce((all, target) => all | (WHO[target] & 0o777), 0);
      if (operator === "+") result |= bits;
      else if (operator === "-") result &= ~bits;
      else result = (result & ~mask) | bits;
    }
  }
  return result & 0o7777;
}

function bitsOf(permissions: string, target: "u" | "g" | "o", mode: number, isFolder: boolean): number {
  const shift = { u: 6, g: 3, o: 0 }[target];
  if (permissions === "u" || permissions === "g" || permissions === "o") {
    return ((mode >> { u: 6, g: 3, o: 0 }[permissions]) & 7) << shift;
  }
  let bits = 0;
  for (const c of permissions) {
    if (c === "r") bits |= 4 << shift;
    else if (c === "w") bits |= 2 << shift;
    else if (c === "x" || (c === "X" && (isFolder || (mode & 0o111) !== 0))) bits |= 1 << shift;
    else if (c === "s") bits |= target === "u" ? 0o4000 : target === "g" ? 0o2000 : 0;
    else if (c === "t") bits |= 0o1000;
  }
  return bits;
}
