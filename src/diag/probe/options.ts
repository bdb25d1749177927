/** What a probe is asked to do: flags in, a checked plan out. Names and defaults are those of earlier ztna-v1 test clients. */
import {
  fromHex,
  type HostPort,
  parseHostPort,
  parseIp,
  parsePin,
  parsePort,
  parseServiceId,
  PIN_FORM,
  type PosternError,
  type SocketAddress,
  usageError,
} from "../../base/mod.ts";
import { PAYLOAD_PATTERNS, type PayloadPattern, type PayloadSize } from "./payload.ts";

/** As the command line has them. */
export interface ProbeFlags {
  readonly server: string;
  readonly serverName?: string;
  readonly pinSha256?: readonly string[];
  readonly service?: string;
  readonly send?: string;
  readonly sendHex?: string;
  readonly sendUdp?: string;
  readonly src: string;
  readonly dst?: string;
  readonly interactive?: boolean;
  readonly wait: string;
  readonly alpn: string;
  readonly payloadSize?: string;
  readonly payloadPattern: string;
  readonly expectFail?: boolean;
  readonly queryMaxSize?: boolean;
  readonly repeat: string;
  readonly delay: string;
  readonly burst?: string;
  readonly verifyEcho?: boolean;
  readonly measureRtt?: boolean;
  readonly rttCount: string;
  readonly measureHandshake?: boolean;
  readonly caCert?: string;
  readonly clientCert?: string;
  readonly clientKey?: string;
  /** False: `--no-verify-peer`. */
  readonly verifyPeer: boolean;
}

/** What is sent, once or often. */
export type ProbeMessage =
  | { readonly kind: "bytes"; readonly bytes: Uint8Array }
  /** So many bytes of a pattern, which may depend on what the connection carries. */
  | { readonly kind: "pattern"; readonly size: PayloadSize; readonly pattern: PayloadPattern };

export interface ProbePlan {
  readonly server: HostPort;
  /** The name that the server must have. */
  readonly serverName: string;
  /** As a role's `--pin-sha256`. */
  readonly pins: readonly string[];
  readonly verifyPeer: boolean;
  readonly protocol: string;
  /** Registered as an agent, if there is one. */
  readonly service: string | null;
  readonly message: ProbeMessage | null;
  /** Messages are payloads of UDP packets between these; null: they are whole DATAGRAMs. */
  readonly udp: { readonly from: SocketAddress; readonly to: SocketAddress } | null;
  readonly waitMs: number;
  readonly repeat: number;
  readonly delayMs: number;
  /** 0: no burst. */
  readonly burst: number;
  readonly rttCount: number;
  readonly isInteractive: boolean;
  readonly expectsFailure: boolean;
  readonly showsMaxSize: boolean;
  readonly showsHandshake: boolean;
  readonly verifiesEcho: boolean;
  readonly caCertPath: string | null;
  readonly clientCertPath: string | null;
  readonly clientKeyPath: string | null;
}

/** Any name may be tried, so that a refusal can be seen (RFC 7301 §3.1). */
const ALPN_NAME = /^[!-~]{1,255}$/;
/** What is measured and what comes in bursts, when nobody says what to send. */
const MEASURED_BYTES = 64, BURST_BYTES = 100;
const COUNT_MAX = 1_000_000;
const WAIT_MAX_MS = 3_600_000;
const PAYLOAD_MAX_BYTES = 65_535;

/** Throws a usage error that names the flag. */
export function parseProbeFlags(flags: ProbeFlags): ProbePlan {
  const server = parseHostPort(flags.server, { defaultPort: 4433 });
  if (!server.ok) throw refused("--server", flags.server, server.why, "gw.example.com:4433");
  if (!ALPN_NAME.test(flags.alpn)) throw refused("--alpn", flags.alpn, "must be 1 to 255 visible characters", "ztna-v2");
  if (flags.service !== undefined) {
    const id = parseServiceId(flags.service, { legacy: true });
    if (!id.ok) throw refused("--service", flags.service, id.why, "web");
  }
  if ((flags.clientCert === undefined) !== (flags.clientKey === undefined)) {
    throw usageError("--client-cert and --client-key belong together", "give both, or neither");
  }
  const rttCount = numberOf("--rtt-count", flags.rttCount, COUNT_MAX);
  const message = messageOf(flags) ?? defaultMessage(flags);
  const from = addressOf("--src", flags.src);
  const to = flags.dst === undefined ? null : addressOf("--dst", flags.dst);
  if (flags.sendUdp !== undefined && to === null) {
    throw usageError("--send-udp needs --dst", "add --dst ADDRESS:PORT, where the packet goes to");
  }
  if (message === null && flags.verifyEcho === true) {
    throw usageError("there is nothing to send", "add --send, --send-hex, --send-udp or --payload-size");
  }
  return {
    server: server.value,
    serverName: flags.serverName ?? server.value.host,
    pins: pinsOf(flags),
    verifyPeer: flags.verifyPeer,
    protocol: flags.alpn,
    service: flags.service ?? null,
    message,
    udp: to === null || flags.send !== undefined || flags.sendHex !== undefined ? null : { from, to },
    waitMs: numberOf("--wait", flags.wait, WAIT_MAX_MS),
    repeat: numberOf("--repeat", flags.repeat, COUNT_MAX),
    delayMs: numberOf("--delay", flags.delay, WAIT_MAX_MS),
    burst: flags.burst === undefined ? 0 : numberOf("--burst", flags.burst, COUNT_MAX),
    rttCount: flags.measureRtt === true ? rttCount : 0,
    isInteractive: flags.interactive === true,
    expectsFailure: flags.expectFail === true,
    showsMaxSize: flags.queryMaxSize === true,
    showsHandshake: flags.measureHandshake === true,
    verifiesEcho: flags.verifyEcho === true,
    caCertPath: flags.caCert ?? null,
    clientCertPath: flags.clientCert ?? null,
    clientKeyPath: flags.clientKey ?? null,
  };
}

function pinsOf({ pinSha256 = [], verifyPeer }: ProbeFlags): string[] {
  if (pinSha256.length > 0 && !verifyPeer) {
    throw usageError("--pin-sha256 needs the verification of the server", "leave --no-verify-peer out");
  }
  return pinSha256.map((text) => {
    const pin = parsePin(text);
    if (pin === null) throw usageError(`--pin-sha256 ${JSON.stringify(text)}: ${PIN_FORM}`, "postern certs inspect FILE shows it");
    return pin;
  });
}

/** A measurement and a burst need something to send. */
function defaultMessage({ measureRtt, burst, payloadPattern }: ProbeFlags): ProbeMessage | null {
  if (measureRtt !== true && burst === undefined) return null;
  return { kind: "pattern", size: measureRtt === true ? MEASURED_BYTES : BURST_BYTES, pattern: patternNamed(payloadPattern) };
}

function patternNamed(text: string): PayloadPattern {
  const pattern = PAYLOAD_PATTERNS.find((name) => name === text);
  if (pattern === undefined) throw refused("--payload-pattern", text, `must be one of ${PAYLOAD_PATTERNS.join(", ")}`, "random");
  return pattern;
}

function messageOf({ send, sendHex, sendUdp, payloadSize, payloadPattern }: ProbeFlags): ProbeMessage | null {
  const given = [send, sendHex, sendUdp, payloadSize].filter((flag) => flag !== undefined);
  if (given.length > 1) {
    throw usageError("--send, --send-hex, --send-udp and --payload-size exclude each other", "keep one of them");
  }
  const pattern = patternNamed(payloadPattern);
  if (payloadSize !== undefined) return { kind: "pattern", size: sizeOf(payloadSize), pattern };
  const text = send ?? sendUdp;
  if (text !== undefined) return { kind: "bytes", bytes: new TextEncoder().encode(text) };
  if (sendHex === undefined) return null;
  const bytes = fromHex(sendHex);
  if (bytes === null) throw refused("--send-hex", sendHex, "must be pairs of hexadecimal digits", "1003776562");
  return { kind: "bytes", bytes };
}

function sizeOf(text: string): PayloadSize {
  if (text === "max" || text === "max-1" || text === "max+1") return text;
  const size = wholeNumber(text, PAYLOAD_MAX_BYTES);
  if (size === null) {
    throw refused("--payload-size", text, `must be max, max-1, max+1 or a number of 0 to ${PAYLOAD_MAX_BYTES}`, "max");
  }
  return size;
}

function numberOf(flag: string, text: string, max: number): number {
  const value = wholeNumber(text, max);
  if (value === null) throw refused(flag, text, `must be a number of 0 to ${max}`, "100");
  return value;
}

function wholeNumber(text: string, max: number): number | null {
  return /^[0-9]{1,9}$/.test(text) && Number(text) <= max ? Number(text) : null;
}

function addressOf(flag: string, text: string): SocketAddress {
  const [, host = "", portText = ""] = /^(.*):([0-9]+)$/s.exec(text) ?? [];
  const ip = parseIp(host), port = parsePort(portText);
  if (ip === null || ip.length !== 4 || !port.ok) throw refused(flag, text, "must be an IPv4 ADDRESS:PORT", "10.100.0.1:53");
  return { ip: host, port: port.value };
}

/** What came, what was expected, and one that would do. */
function refused(flag: string, text: string, expected: string, example: string): PosternError {
  return usageError(`${flag} ${JSON.stringify(text)}: ${expected}`, `for example: postern probe ... ${flag} ${example}`);
}
