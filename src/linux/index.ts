export * from "./types.js";
export * from "./libc.js";
export * from "./pipe.js";
export * from "./pty.js";
export * from "./user-namespace.js";
export * from "./socket.js";
