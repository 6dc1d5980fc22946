export type * from "./types.js";
export * from "./reference.js";
export { DockerCredentials, type Credentials, type CredentialSource } from "./credentials.js";
export { connectionsTo, isLoopback } from "./connections.js";
export { MANIFEST_TYPES, RegistryClient, type Manifest } from "./client.js";
