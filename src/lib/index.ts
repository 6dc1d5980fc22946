export * from "./digest.js";
export * from "./errors.js";
export * from "./go-json.js";
export * from "./limiter.js";
export * from "./secret.js";
export * from "./csv.js";
export * from "./glob.js";
export * from "./pattern.js";
