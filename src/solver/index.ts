export type * from "./types.js";
export { KeyNode, recordDigest, type KeyLink } from "./key-node.js";
export { Solver, type SolverOptions } from "./solver.js";
