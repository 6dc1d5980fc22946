export { convert } from "./convert.js";
export { formatPlatform, hostPlatform, normalizePlatform, parsePlatform, samePlatform } from "./platform.js";
