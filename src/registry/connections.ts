// Connections to registries and other servers, kept for the next request. Proxies are those of the environment
// (HTTP_PROXY, HTTPS_PROXY, NO_PROXY); loopback addresses are never asked through one, as in Go.
import { rootCertificates } from "node:tls";
import { Agent, EnvHttpProxyAgent, type Dispatcher } from "undici";

/** Connections to one server. */
const CONNECTIONS = 32;

export interface Trust {
  /** certificates of authorities, PEM; besides the usual ones */
  readonly ca: readonly string[];
  /** certificates of ours and their keys, PEM */
  readonly keyPairs: readonly { readonly key: string; readonly cert: string }[];
  /** certificates are not checked */
  readonly isBlind: boolean;
}

interface Connections {
  readonly direct: Dispatcher;
  readonly proxied: Dispatcher;
}

const USUAL: Trust = { ca: [], keyPairs: [], isBlind: false };
const known = new WeakMap<Trust, Connections>();

/** What sends requests to a URL. @param trust whom to trust there */
export function connectionsTo(url: URL, trust: Trust = USUAL): Dispatcher {
  let connections = known.get(trust);
  if (!connections) known.set(trust, (connections = open(trust)));
  return isLoopback(url.host) ? connections.direct : connections.proxied;
}

/** @param host with or without a port */
export function isLoopback(host: string): boolean {
  const name = host.replace(/:\d+$/, "");
  return name === "localhost" || /^127\./.test(name) || name === "[::1]";
}

function open(trust: Trust): Connections {
  const tls = trust === USUAL ? {} : tlsOptions(trust);
  // how long nothing may move is watched by who asks
  const options = { connections: CONNECTIONS, headersTimeout: 0, bodyTimeout: 0, connect: tls };
  return {
    direct: new Agent(options),
    // plain http is asked of the proxy itself: many don't connect to other ports than 443
    proxied: new EnvHttpProxyAgent({ ...options, requestTls: tls, proxyTunnel: false }),
  };
}

function tlsOptions({ ca, keyPairs, isBlind }: Trust) {
  return {
    rejectUnauthorized: !isBlind,
    ...(ca.length > 0 && { ca: [...rootCertificates, ...ca] }),
    ...(keyPairs.length > 0 && {
      key: keyPairs.map(({ key }) => key),
      cert: keyPairs.map(({ cert }) => cert),
    }),
  };
}
