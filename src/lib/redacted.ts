// Addresses that are shown, in names of steps, errors and provenance.
const MASK = "xxxxx";

/** A URL whose user and password nobody sees. */
export function redacted(remote: string): string {
  return remote.replace(
    /^([a-z][a-z0-9+.-]*:\/\/)([^/@:]*)(:[^/@]*)?@/i,
    (_, scheme: string, user: string, password: string | undefined) =>
      `${scheme}${user && MASK}${password === undefined ? "" : `:${MASK}`}@`,
  );
}
