// Attributes of a request without what is nobody's business: keys of caches, signatures and passwords in URLs. Build
// arguments stay as they are: they are part of the image's history anyway.
type Attrs = Readonly<Record<string, string>>;

const SECRET = /secret|password|token|access_key|sas$|session_key/i;
const HIDDEN = "xxxxx";

export function redactAttrs(attrs: Attrs): Record<string, string> {
  return Object.fromEntries(Object.entries(attrs).map(([key, value]) => [key, redactValue(key, value)]));
}

function redactValue(key: string, value: string): string {
  if (key === "cache-imports" || key === "cache-exports") return redactCaches(value);
  if (!key.includes(":") && SECRET.test(key)) return HIDDEN;
  return redactUrl(value);
}

/** Caches are JSON in an attribute. */
function redactCaches(text: string): string {
  try {
    const list = JSON.parse(text) as { Attrs?: Attrs }[];
    return JSON.stringify(
      list.map((entry) => ({ ...entry, ...(entry.Attrs && { Attrs: redactAttrs(entry.Attrs) }) })),
    );
  } catch {
    return HIDDEN;
  }
}

/** Signatures of Azure, and names and passwords in front of a host. */
function redactUrl(text: string): string {
  return text
    .replace(/([?&]sig=)[^&\s"]*/g, `$1${HIDDEN}`)
    .replace(/(:\/\/)[^/@\s"]+:[^/@\s"]+@/g, `$1${HIDDEN}:${HIDDEN}@`);
}
