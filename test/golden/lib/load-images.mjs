// The corpus's images into a registry, byte for byte.
import { readImages } from "./corpus.mjs";

/** @param base "http://127.0.0.1:5000" */
export async function loadImages(corpus, base) {
  const { blob, images } = readImages(corpus);
  for (const [name, entry] of images) {
    const [repository, tag] = name.slice("127.0.0.1:5000/".length).split(":");
    await pushManifest(base, repository, entry, tag, blob);
  }
}

async function pushManifest(base, repository, descriptor, tag, blob) {
  const data = blob(descriptor.digest);
  const manifest = JSON.parse(data.toString());
  for (const child of manifest.manifests ?? []) await pushManifest(base, repository, child, undefined, blob);
  for (const part of [manifest.config, ...(manifest.layers ?? [])].filter(Boolean)) {
    await pushBlob(base, repository, part.digest, blob(part.digest));
  }
  await expect(201, `${base}/v2/${repository}/manifests/${tag ?? descriptor.digest}`, {
    method: "PUT",
    headers: { "content-type": manifest.mediaType ?? descriptor.mediaType },
    body: data,
  });
}

async function pushBlob(base, repository, digest, data) {
  const head = await fetch(`${base}/v2/${repository}/blobs/${digest}`, { method: "HEAD" });
  if (head.status === 200) return;
  const start = await expect(202, `${base}/v2/${repository}/blobs/uploads/`, { method: "POST" });
  const url = new URL(start.headers.get("location"), base);
  url.searchParams.set("digest", digest);
  await expect(201, url, {
    method: "PUT",
    body: data,
    headers: { "content-type": "application/octet-stream" },
  });
}

async function expect(status, url, options) {
  const response = await fetch(url, options);
  if (response.status !== status)
    throw new Error(`${options.method} ${url}: ${response.status} ${await response.text()}`);
  await response.arrayBuffer();
  return response;
}
