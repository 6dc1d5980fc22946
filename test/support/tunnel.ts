// The far end of a proxy's CONNECT.
import { connect } from "node:net";
import type { Duplex } from "node:stream";

/** @param head what the client has sent already @param target "127.0.0.1:443" */
export function tunnel(client: Duplex, head: Buffer, target: string): void {
  const [host, port] = target.split(":");
  const server = connect(Number(port), host, () => {
    client.write("HTTP/1.1 200 OK\r\n\r\n");
    server.write(head);
    server.pipe(client).pipe(server);
  });
  server.on("error", () => client.destroy());
  client.on("error", () => server.destroy());
}
