// The one error class. Every error a user can meet has a stable code; the message says what happened, to what, and
// what to do next. Where BuildKit or buildx word a message, it is worded the same.

export class BuildError extends Error {
  readonly code: string;

  constructor(code: string, message: string, options: { cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "BuildError";
    this.code = code;
  }
}

/** The text of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The `code` of a system or build error, if it has one. */
export function codeOf(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

/** Wraps an error in another message, keeping its code when it has one. Used once, at the edge of a room. */
export function wrapError(error: unknown, code: string, prefix: string): BuildError {
  return new BuildError(error instanceof BuildError ? error.code : code, `${prefix}: ${messageOf(error)}`, {
    cause: error,
  });
}

/** Why a connection could not be made, as Go words it: people search for those texts. */
export function dialError(cause: unknown): string {
  const { address, port, hostname } = cause as { address?: string; port?: number; hostname?: string };
  const code = codeOf(cause);
  if (code === "ECONNREFUSED") return `dial tcp ${address ?? ""}:${port ?? ""}: connect: connection refused`;
  if (code === "ENOTFOUND" || code === "EAI_AGAIN") return `dial tcp: lookup ${hostname ?? ""}: no such host`;
  return messageOf(cause);
}
