export type * from "./types.js";
export * from "./reference.js";
export { DockerCredentials, type Credentials, type CredentialSource } from "./credentials.js";
export { isLoopback, MANIFEST_TYPES, RegistryClient, type Manifest } from "./client.js";
