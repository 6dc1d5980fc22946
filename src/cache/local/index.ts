export { LocalBackend, type LocalCacheFolder } from "./backend.js";
