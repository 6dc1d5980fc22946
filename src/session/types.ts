// What the client lends a build.

export interface Session {
  /** a folder by its local name ("context", "dockerfile", a named context) */
  folder(name: string): string | undefined;
  /** @returns the secret's bytes, or `undefined` if the client has none of this id */
  secret(id: string): Promise<Uint8Array | undefined>;
  /** path of an agent's socket */
  agentSocket(id: string): string | undefined;
}
