// The service Content of containerd: the blobs of the history, for reading.
import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import { isDigest, type Digest } from "../lib/index.js";
import type { Content, InfoSchema } from "./gen/containerd/content_pb.js";
import type { History } from "./history.js";

/** Bytes of one message. */
const CHUNK = 1 << 20;

export function contentService(history: History): Partial<ServiceImpl<typeof Content>> {
  const blob = (digest: string): Buffer => {
    const data = isDigest(digest) ? history.blob(digest) : undefined;
    if (!data) throw new ConnectError(`content ${digest}: not found`, Code.NotFound);
    return data;
  };
  const info = (digest: string): MessageInitShape<typeof InfoSchema> => ({
    digest,
    size: BigInt(blob(digest).length),
    createdAt: timestampFromMs(0),
    updatedAt: timestampFromMs(0),
    labels: {},
  });
  return {
    info: ({ digest }) => ({ info: info(digest) }),
    async *list() {
      const all = history.blobs();
      if (all.length > 0) yield { info: all.map((digest: Digest) => info(digest)) };
    },
    async *read({ digest, offset, size }) {
      const data = blob(digest);
      const end = size > 0n ? Math.min(data.length, Number(offset + size)) : data.length;
      for (let at = Number(offset); at < end; at += CHUNK)
        yield { offset: BigInt(at), data: Uint8Array.from(data.subarray(at, Math.min(end, at + CHUNK))) };
    },
    listStatuses: () => ({ statuses: [] }),
  };
}
