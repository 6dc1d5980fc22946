// What a client asks of the Dockerfile frontend besides a graph: its subrequests.
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  describeDockerfile,
  descriptionJson,
  type Call,
  type FrontendHost,
  type FrontendRequest,
} from "../frontend/index.js";
import { goJson } from "../lib/index.js";
import { ResultSchema, type Result } from "./gen/buildkit/gateway_pb.js";

const CALLS: Readonly<Record<string, Call>> = {
  "frontend.lint": "check",
  "frontend.outline": "outline",
  "frontend.targets": "targets",
};

/** @param id "frontend.outline" @throws ConnectError for one that is not known, what the frontend throws */
export async function describe(id: string, request: FrontendRequest, host: FrontendHost): Promise<Result> {
  const call = CALLS[id];
  if (!call) throw new ConnectError(`unsupported request ${id}`, Code.Unimplemented);
  const json = Buffer.from(goJson(descriptionJson(await describeDockerfile(call, request, host))));
  const metadata = { "result.json": json, "result.txt": json, version: Buffer.from("1.0.0") };
  return create(ResultSchema, { result: { case: "ref", value: {} }, metadata });
}

/** Docker's own frontend, which is built in. */
export function isDockerfile(source: string): boolean {
  return /^(docker\.io\/)?docker\/dockerfile(-upstream)?([:@]|$)/.test(source);
}
