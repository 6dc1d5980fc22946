export { buildImage, descriptorJson, OCI_INDEX, type BuiltImage, type ImageLayer } from "./image.js";
export { pushImage, type BlobSource } from "./push.js";
export { writeArchive, type ArchiveImage } from "./archive.js";
