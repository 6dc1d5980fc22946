export { ImageSource, resolveError, type ResolvedSource } from "./image.js";
export { checkoutGit, resolveGit, type GitCommit, type GitRequest } from "./git.js";
export { OciLayout, resolveLayoutTag } from "./oci-layout.js";
export { fetchHttp, httpKey, type HttpFile } from "./http.js";
