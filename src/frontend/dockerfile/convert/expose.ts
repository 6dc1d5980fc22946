// EXPOSE: ports, ranges, protocols, and the "ip:host:container" forms of docker run, of which only the last part counts.

/** "80", "7000-7003/udp", "127.0.0.1:81:81" to "80/tcp", ... @throws Error in Docker's words */
export function parsePorts(
  specs: readonly string[],
  warn: (rule: "ExposeProtoCasing" | "ExposeInvalidFormat", detail: string) => void,
): string[] {
  const ports: string[] = [];
  for (const spec of specs) {
    const [address, protocolText] = splitProtocol(spec);
    const protocol = protocolText.toLowerCase();
    if (!["tcp", "udp", "sctp"].includes(protocol)) throw new Error(`invalid proto: ${protocolText}`);
    if (protocolText !== protocol)
      warn("ExposeProtoCasing", `Defined protocol '${spec}' in EXPOSE instruction should be lowercase`);
    if (address.includes(":")) {
      const found = `found '${spec}'`;
      const detail = `EXPOSE instruction should not define an IP address or host-port mapping, ${found}`;
      warn("ExposeInvalidFormat", detail);
    }
    const container = address.slice(address.lastIndexOf(":") + 1);
    if (container === "") throw new Error(`no port specified: ${spec}<empty>`);
    const [first, last] = range(container);
    for (let port = first; port <= last; port++) ports.push(`${port}/${protocol}`);
  }
  return ports;
}

function splitProtocol(spec: string): [string, string] {
  const at = spec.indexOf("/");
  return at < 0 ? [spec, "tcp"] : [spec.slice(0, at), spec.slice(at + 1) || "tcp"];
}

function range(text: string): [number, number] {
  const [first, last, ...more] = text.split("-");
  const start = port(first ?? "");
  const end = last === undefined ? start : port(last);
  if (start === undefined || end === undefined || more.length > 0)
    throw new Error(`invalid containerPort: ${text}`);
  if (end < start) throw new Error(`invalid containerPort: ${text}`);
  return [start, end];
}

function port(text: string): number | undefined {
  return /^\d+$/.test(text) && Number(text) <= 65535 ? Number(text) : undefined;
}
