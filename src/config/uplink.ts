/** The settings of a client's way to its server: where it is, how it is verified, what we show it. Connector and agent share them. */

import * as z from "zod";
import { parseHostPort, parsePin, PIN_FORM, usageError } from "../base/mod.ts";
import { settingError } from "./problem.ts";
import { formatSource, list, onOff, type Resolved, type SettingTable, word } from "./setting.ts";
import { isUnspecified, numberFromText, path, refuse, serverName, text } from "./value.ts";

/** The port of a server that names none (UDP). */
export const DEFAULT_SERVER_PORT = 4433;

/** What a client knows about its server. */
export interface UplinkSettings {
  /** The first of the servers: a DNS name or an IP address. */
  readonly serverHost: string;
  readonly serverPort: number;
  /** All of them, best first, none twice. */
  readonly servers: readonly { readonly host: string; readonly port: number }[];
  /** The name that the server's certificate must have; null: the host. */
  readonly serverName: string | null;
  readonly verifyPeer: boolean;
  /** SHA-256 of the public keys that the server's certificate may have, base64; empty: any key. */
  readonly pins: readonly string[];
  readonly clientCertPath: string | null;
  readonly clientKeyPath: string | null;
  /** Null: the bundle of the operating system. */
  readonly caCertPath: string | null;
  /** A registration token instead of a certificate, and its holder's key. */
  readonly tokenPath: string | null;
  readonly tokenKeyPath: string | null;
  /** Packets that wait for the way to be free, or to be read. */
  readonly packetQueueMax: number;
}

/** Host and port of `--server`; a null port means that the text has none. */
export interface ServerAddress {
  readonly host: string;
  readonly port: number | null;
}

/** `HOST`, `HOST:PORT`, or an object of both as earlier connectors have it. */
const serverAddress = z.union([text, z.strictObject({ host: text, port: z.int().min(1).max(65535).optional() })], {
  error: "must be HOST:PORT",
}).transform((value, context): ServerAddress => {
  const whole = typeof value === "string" ? value : joinHostPort(value.host, value.port);
  const named = parseHostPort(whole, { defaultPort: DEFAULT_SERVER_PORT });
  if (!named.ok) return refuse(context, named.why);
  const hasPort = typeof value === "string" ? parseHostPort(whole).ok : value.port !== undefined;
  return { host: named.value.host, port: hasPort ? named.value.port : null };
});

function joinHostPort(host: string, port: number | undefined): string {
  const bracketed = host.includes(":") && !host.startsWith("[") ? `[${host}]` : host;
  return port === undefined ? bracketed : `${bracketed}:${port}`;
}

const SERVERS_MAX = 8;
/** The engine drops uncounted what overflows a shorter one. */
const PACKET_QUEUE = { min: 256, fallback: 4_096, max: 65_536 } as const;
/** Enough for several servers, each with the key that it has and the next one. */
const PINS_MAX = 32;

const packetQueue = z.int({ error: "must be a whole number of packets" })
  .min(PACKET_QUEUE.min, { error: `must be at least ${PACKET_QUEUE.min}` })
  .max(PACKET_QUEUE.max, { error: `must be at most ${PACKET_QUEUE.max}` });
const pin = text.transform((value, context) => parsePin(value) ?? refuse(context, PIN_FORM));

/** Settings of the connector and the agent. The aliases differ between the two. */
export function uplinkSettings(
  aliases: { readonly server: readonly string[]; readonly verifyPeer: readonly string[]; readonly caCert: readonly string[] },
) {
  return {
    server: list<readonly ServerAddress[]>("HOST:PORT", [{ host: "127.0.0.1", port: null }], {
      isTypical: true,
      schema: z.union([
        z.array(serverAddress).min(1, { error: "must name a server" }).max(SERVERS_MAX, { error: `are more than ${SERVERS_MAX}` }),
        serverAddress.transform((value) => [value]),
      ]),
      fallbackText: `127.0.0.1:${DEFAULT_SERVER_PORT}`,
      example: "gateway.example.com:4433",
      summary:
        `The server, by name or address; port ${DEFAULT_SERVER_PORT} if none is given. Of several the first is used that works, and the next when it fails`,
      aliases: [...aliases.server, "servers"],
    }),
    server_name: word<string | null>("NAME", null, {
      schema: serverName,
      example: "gateway.example.com",
      summary: "The name or address that the server's certificate must have, if it is not the host of --server",
    }),
    pin_sha256: list<readonly string[]>("PIN", [], {
      schema: z.union([z.array(pin).max(PINS_MAX, { error: `are more than ${PINS_MAX}` }), pin.transform((value) => [value])]),
      example: ["sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="],
      summary:
        "A key that the server's certificate may have, as `postern certs inspect` shows it: with any other the server is refused, even when its certificate verifies",
      aliases: ["pins"],
    }),
    ca_cert: word<string | null>("FILE", null, {
      isTypical: true,
      schema: path,
      example: "/etc/postern/ca-cert.pem",
      summary: "Certificates (PEM) of the authorities that may sign the server's; without it the system's bundle",
      aliases: aliases.caCert,
    }),
    client_cert: word<string | null>("FILE", null, {
      isTypical: true,
      schema: path,
      example: "/etc/postern/client-cert.pem",
      summary: "Our certificate (PEM, with its chain), shown to the server",
    }),
    client_key: word<string | null>("FILE", null, {
      isTypical: true,
      schema: path,
      example: "/etc/postern/client-key.pem",
      summary: "The private key (PEM) of --client-cert",
    }),
    token: word<string | null>("FILE", null, {
      schema: path,
      example: "/etc/postern/agent.token",
      summary: "A registration token, for a server that takes one instead of a certificate",
    }),
    token_key: word<string | null>("FILE", null, {
      schema: path,
      example: "/etc/postern/agent-token-key.pem",
      summary: "The Ed25519 private key (PEM) of the holder of --token",
    }),
    packet_queue: word<number>("PACKETS", PACKET_QUEUE.fallback, {
      schema: packetQueue,
      fromText: numberFromText,
      summary: "How many packets of UDP and of the network interface may wait; when more come the oldest are dropped and counted",
    }),
    verify_peer: onOff(true, {
      summary: "Verify the server's certificate and name",
      offSummary:
        "Do not verify the server's certificate and name: anybody in between can read and change everything. For tests only",
      aliases: aliases.verifyPeer,
    }),
  } satisfies SettingTable;
}

type UplinkTable = ReturnType<typeof uplinkSettings>;

/** The uplink part of a client's settings object. `filePort` is a port that stands apart from its host in the file. */
export function finishUplink(resolved: Resolved<UplinkTable>, filePort: number | null): UplinkSettings {
  const { values, sources } = resolved;
  const servers = serversOf(resolved, filePort);
  if ((values.client_cert === null) !== (values.client_key === null)) {
    const [given, missing] = values.client_cert === null ? ["--client-key", "--client-cert"] : ["--client-cert", "--client-key"];
    throw usageError(`--client-cert and --client-key belong together (got only ${given})`, `add ${missing}, or leave both out`);
  }
  if ((values.token === null) !== (values.token_key === null)) {
    const [given, missing] = values.token === null ? ["--token-key", "--token"] : ["--token", "--token-key"];
    throw usageError(`--token and --token-key belong together (got only ${given})`, `add ${missing}, or leave both out`);
  }
  if (values.token !== null && values.client_cert !== null) {
    throw usageError("--token and --client-cert are two ways to be let in", "keep one of the two");
  }
  if (values.pin_sha256.length > 0 && !values.verify_peer) {
    const hint = "leave out --no-verify-peer: whoever is not verified may show any key";
    throw settingError(sources.pin_sha256, values.pin_sha256[0], "needs the verification of the server", hint);
  }
  return {
    serverHost: servers[0].host,
    serverPort: servers[0].port,
    servers,
    serverName: values.server_name,
    verifyPeer: values.verify_peer,
    pins: values.pin_sha256,
    clientCertPath: values.client_cert,
    clientKeyPath: values.client_key,
    caCertPath: values.ca_cert,
    tokenPath: values.token,
    tokenKeyPath: values.token_key,
    packetQueueMax: values.packet_queue,
  };
}

type NamedServers = readonly [UplinkSettings["servers"][number], ...UplinkSettings["servers"]];

/** `filePort` is of servers that the file names without one. */
function serversOf({ values, sources }: Resolved<UplinkTable>, filePort: number | null): NamedServers {
  const isFromFile = sources.server.kind === "file" || sources.server.kind === "default";
  const servers = values.server.map(({ host, port }) => {
    if (isUnspecified(host)) {
      throw usageError(
        "server address must be configured",
        `${formatSource(sources.server)} is the placeholder ${host}: name your server`,
      );
    }
    if (filePort !== null && port !== null && isFromFile) {
      throw usageError(`${formatSource(sources.server)} has a port and serverPort gives another`, "keep one of the two");
    }
    return { host, port: port ?? (isFromFile ? filePort : null) ?? DEFAULT_SERVER_PORT };
  });
  const seen = new Set<string>();
  for (const { host, port } of servers) {
    const text = joinHostPort(host, port);
    if (seen.has(text)) throw settingError(sources.server, text, "stands there twice");
    seen.add(text);
  }
  const [first, ...others] = servers;
  if (first === undefined) throw settingError(sources.server, undefined, "must name a server");
  return [first, ...others];
}
