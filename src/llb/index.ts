export * from "./types.js";
export { encodeDefinition, encodeOp, enums } from "./encode.js";
export { definitionOutput, marshal, vertex, type Output, type Vertex, type VertexOptions } from "./vertex.js";
export * from "./ops.js";
export { ociPlatform, type OciPlatform } from "./platform.js";
