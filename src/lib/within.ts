// Time limits as abort signals.
import { BuildError } from "./errors.js";

/** `signal`, and after `milliseconds` an error that names `what`; no limit if `undefined`. */
export function within(signal: AbortSignal, milliseconds: number | undefined, what: string): AbortSignal {
  if (milliseconds === undefined) return signal;
  const limit = new AbortController();
  const timer = setTimeout(() => {
    const error = new BuildError("TIMEOUT", `${what} took longer than ${milliseconds / 1000} seconds`);
    limit.abort(error);
  }, milliseconds);
  timer.unref();
  return AbortSignal.any([signal, limit.signal]);
}
