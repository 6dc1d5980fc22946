export {
  buildImage,
  buildIndex,
  type BuiltImage,
  type ImageIndex,
  type ImageLayer,
  type PlatformImage,
} from "./image.js";
export { buildAttestation, packageUrl, type AttestationImage, type Predicate } from "./attestation.js";
export { pushImage, pushIndex, type BlobSource } from "./push.js";
export { writeArchive } from "./archive.js";
