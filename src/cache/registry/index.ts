export { RegistryBackend } from "./backend.js";
