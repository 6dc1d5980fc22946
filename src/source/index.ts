export { ImageSource, resolveError, type ResolvedSource } from "./image.js";
export { fetchHttp, httpKey, type HttpFile } from "./http.js";
