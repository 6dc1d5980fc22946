// Reading blobs of Azurite, independently of the code under test.
import { BlobServiceClient, StorageSharedKeyCredential } from "@azure/storage-blob";
import { AZURE_KEY, AZURE_URL } from "./services.mjs";

const service = new BlobServiceClient(
  AZURE_URL,
  new StorageSharedKeyCredential("devstoreaccount1", AZURE_KEY),
);

/** @returns `undefined` if there is no such blob */
export async function readBlob(container, path) {
  try {
    return await service.getContainerClient(container).getBlobClient(path).downloadToBuffer();
  } catch (error) {
    if (error.statusCode === 404) return undefined;
    throw error;
  }
}

export async function writeBlob(container, path, data) {
  const client = service.getContainerClient(container);
  await client.createIfNotExists();
  await client.getBlockBlobClient(path).upload(data, data.length);
}
