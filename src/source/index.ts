export { ImageSource, resolveError, type ResolvedSource } from "./image.js";
export { checkoutGit, resolveGit, type GitCommit, type GitRequest } from "./git.js";
export { StoreLayout, type BlobReader } from "./store-layout.js";
export { OciLayout, resolveLayoutTag } from "./oci-layout.js";
export { httpKey, HttpSource, intOf, type HttpFile, type HttpRequest } from "./http.js";
