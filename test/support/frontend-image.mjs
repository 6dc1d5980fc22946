// A frontend that lives in an image: makes a file that says what it was asked, and what it has read.
import { connect } from "node:http2";
import { Duplex } from "node:stream";
import { createHash } from "node:crypto";
import { create, toBinary } from "@bufbuild/protobuf";
import { Channel } from "../../dist/control/grpc.js";
import { LLBBridge } from "../../dist/control/gen/buildkit/gateway_pb.js";
import { DefinitionSchema, OpSchema } from "../../dist/control/gen/buildkit/ops_pb.js";

const options = Object.fromEntries(
  Object.entries(process.env)
    .filter(([name]) => name.startsWith("BUILDKIT_FRONTEND_OPT_"))
    .map(([, value]) => value.split(/=(.*)/s).slice(0, 2)),
);
// both ways on their own: the end of one is not the other's
const stdio = new Duplex({
  read: () => undefined,
  write: (chunk, _encoding, done) => void process.stdout.write(chunk, done),
});
process.stdin.on("data", (chunk) => stdio.push(chunk)).on("end", () => stdio.push(null));
const channel = new Channel(connect("http://daemon", { createConnection: () => stdio }));
const { signal } = new AbortController();
const path = (name) => `/moby.buildkit.v1.frontend.LLBBridge/${name}`;
const bridge = Object.fromEntries(
  LLBBridge.methods.map(({ name, localName, input, output }) => [
    localName,
    (message) => channel.unary(path(name), input, output, message, signal),
  ]),
);

/** @returns a definition of one op */
function definition(body, inputs = []) {
  const def = toBinary(OpSchema, create(OpSchema, { op: body, inputs }));
  const digest = `sha256:${createHash("sha256").update(def).digest("hex")}`;
  const last = toBinary(OpSchema, create(OpSchema, { inputs: [{ digest, index: 0n }] }));
  return create(DefinitionSchema, { def: [def, last] });
}
const refOf = ({ result }) => result.result.value.id;

const attrs = { "local.followpaths": JSON.stringify(["Dockerfile"]) };
const local = definition({ case: "source", value: { identifier: "local://dockerfile", attrs } });
const Ref = refOf(await bridge.solve({ Definition: local }));
const { Data } = await bridge.readFile({ Ref, FilePath: "Dockerfile" });
if (options["build-arg:FAIL"]) {
  await bridge.return({ error: { code: 2, message: `failed: ${options["build-arg:FAIL"]}` } });
  process.exit(0);
}
if (options["build-arg:DIE"]) {
  console.error("dying words");
  process.exit(9);
}
const text = `${options["build-arg:WORD"]} ${Buffer.from(Data).toString().split("\n")[0]}\n`;
const value = { path: "/said", mode: 0o644, data: Buffer.from(text), timestamp: -1n };
const actions = [{ input: -1n, secondaryInput: -1n, output: 0n, action: { case: "mkfile", value } }];
const id = refOf(await bridge.solve({ Definition: definition({ case: "file", value: { actions } }) }));
await bridge.return({ result: { result: { case: "ref", value: { id } } } });
process.exit(0);
