/** What a benchmark is asked to do: flags in, a checked plan out. */
import {
  type HostPort,
  parseHostPort,
  parseIp,
  parsePort,
  parseServiceId,
  type SocketAddress,
  usageError,
} from "../../base/mod.ts";

/** As the command line has them. */
export interface BenchFlags {
  readonly server: string;
  readonly serverName?: string;
  readonly caCert: string;
  readonly clientCert: string;
  readonly clientKey: string;
  readonly service: string;
  readonly mode: string;
  readonly dst: string;
  readonly size: string;
  readonly rate?: string;
  readonly duration: string;
  readonly connections: string;
  readonly oneWay?: boolean;
  readonly json?: boolean;
}

export interface BenchPlan {
  readonly server: HostPort;
  /** The name that the server must have. */
  readonly serverName: string;
  readonly caCertPath: string;
  readonly clientCertPath: string;
  readonly clientKeyPath: string;
  readonly service: string;
  readonly mode: "datagrams" | "streams";
  /** Where UDP packets go to, IPv4. */
  readonly to: SocketAddress;
  /** Of the payload of a packet, or of a request. */
  readonly sizeBytes: number;
  /** All together; null: each request when the last one was answered. */
  readonly perSecond: number | null;
  readonly durationMs: number;
  /** Streams at one time. */
  readonly connections: number;
  /** Streams: nothing comes back, as from a service that discards. */
  readonly isOneWay: boolean;
  readonly isJson: boolean;
}

/** What one run may do at most: an operator's tool on a network that others use. */
const RATE_MAX = 100_000, SECONDS_MAX = 3_600, CONNECTIONS_MAX = 256;
/** A packet says its number and when it was sent; more than the largest would not travel at all. */
const DATAGRAM_MIN_BYTES = 12, DATAGRAM_MAX_BYTES = 1_500;
const REQUEST_MAX_BYTES = 16 * 1024 * 1024;
const DATAGRAMS_PER_SECOND = 1_000;

/** Throws a usage error that names the flag. */
export function parseBenchFlags(flags: BenchFlags): BenchPlan {
  const server = parseHostPort(flags.server, { defaultPort: 4433 });
  if (!server.ok) throw usageError(`--server ${JSON.stringify(flags.server)}: ${server.why}`);
  const id = parseServiceId(flags.service, { legacy: true });
  if (!id.ok) throw usageError(`--service ${JSON.stringify(flags.service)}: ${id.why}`);
  const { mode } = flags;
  if (mode !== "datagrams" && mode !== "streams") throw usageError(`--mode ${JSON.stringify(mode)}: must be datagrams or streams`);
  const isDatagrams = mode === "datagrams";
  if (isDatagrams && flags.oneWay === true) {
    throw usageError("--one-way is for --mode streams", "datagrams are counted by their answers");
  }
  const least = isDatagrams ? DATAGRAM_MIN_BYTES : 1, most = isDatagrams ? DATAGRAM_MAX_BYTES : REQUEST_MAX_BYTES;
  const rate = flags.rate === undefined ? null : numberOf("--rate", flags.rate, 1, RATE_MAX);
  return {
    server: server.value,
    serverName: flags.serverName ?? server.value.host,
    caCertPath: flags.caCert,
    clientCertPath: flags.clientCert,
    clientKeyPath: flags.clientKey,
    service: flags.service,
    mode,
    to: addressOf(flags.dst),
    sizeBytes: numberOf("--size", flags.size, least, most),
    perSecond: rate ?? (isDatagrams ? DATAGRAMS_PER_SECOND : null),
    durationMs: numberOf("--duration", flags.duration, 1, SECONDS_MAX) * 1_000,
    connections: numberOf("--connections", flags.connections, 1, CONNECTIONS_MAX),
    isOneWay: flags.oneWay === true,
    isJson: flags.json === true,
  };
}

function numberOf(flag: string, text: string, least: number, most: number): number {
  const value = /^[0-9]{1,9}$/.test(text) ? Number(text) : NaN;
  if (!(value >= least && value <= most)) {
    throw usageError(`${flag} ${JSON.stringify(text)}: must be a number of ${least} to ${most}`);
  }
  return value;
}

function addressOf(text: string): SocketAddress {
  const [, host = "", portText = ""] = /^(.*):([0-9]+)$/s.exec(text) ?? [];
  const ip = parseIp(host), port = parsePort(portText);
  if (ip === null || ip.length !== 4 || !port.ok) throw usageError(`--dst ${JSON.stringify(text)}: must be an IPv4 ADDRESS:PORT`);
  return { ip: host, port: port.value };
}
