/**
 * SOCKS5 as a proxy hears and speaks it (RFC 1928): the greeting, the request, the replies, and the header of UDP datagrams. Stream
 * decoders say how many bytes they want at least, so that a reader never takes what belongs to the connection behind the request.
 */
import { decodeUtf8, formatIp } from "../../base/mod.ts";
import { type Malformed, malformed, type NeedBytes } from "./malformed.ts";

export const SOCKS_VERSION = 0x05;

/** What a client wants to reach; the host is a name as it was written, or an address in canonical text. */
export interface ProxyTarget {
  readonly host: string;
  readonly port: number;
}

// greeting: version u8 | count u8 | methods
const GREETING_METHODS_AT = 2;
const METHOD_NONE_NEEDED = 0x00;
const METHOD_NONE_ACCEPTABLE = 0xff;

export interface SocksGreeting {
  readonly kind: "greeting";
  /** Whether the client goes on without authentication. */
  readonly takesNoAuthentication: boolean;
  readonly length: number;
}

export function decodeSocksGreeting(bytes: Uint8Array, offset: number, length: number): SocksGreeting | NeedBytes | Malformed {
  if (length < GREETING_METHODS_AT) return { kind: "need", bytes: GREETING_METHODS_AT };
  if (bytes[offset] !== SOCKS_VERSION) return malformed("first-byte");
  const count = bytes[offset + 1] ?? 0;
  if (count === 0) return malformed("empty");
  const whole = GREETING_METHODS_AT + count;
  if (length < whole) return { kind: "need", bytes: whole };
  const methods = bytes.subarray(offset + GREETING_METHODS_AT, offset + whole);
  return { kind: "greeting", takesNoAuthentication: methods.includes(METHOD_NONE_NEEDED), length: whole };
}

/** Writes the answer to a greeting and returns its length. */
export function encodeSocksMethod(bytes: Uint8Array, offset: number, isAccepted: boolean): number {
  bytes[offset] = SOCKS_VERSION;
  bytes[offset + 1] = isAccepted ? METHOD_NONE_NEEDED : METHOD_NONE_ACCEPTABLE;
  return 2;
}

// request: version u8 | command u8 | 00 | address;   address: type u8 | IPv4, IPv6, or length u8 and name | port u16
const REQUEST_ADDRESS_AT = 3;
const COMMAND_CONNECT = 0x01, COMMAND_ASSOCIATE = 0x03;
const ADDRESS_IPV4 = 0x01, ADDRESS_NAME = 0x03, ADDRESS_IPV6 = 0x04;
const PORT_BYTES = 2;

export type SocksRequest =
  | { readonly kind: "request"; readonly command: "connect" | "associate"; readonly target: ProxyTarget; readonly length: number }
  /** Understood, and not offered here: answer with that code. */
  | { readonly kind: "unsupported"; readonly code: SocksReplyCode };

export function decodeSocksRequest(bytes: Uint8Array, offset: number, length: number): SocksRequest | NeedBytes | Malformed {
  // The shortest address is a name of one byte.
  if (length < REQUEST_ADDRESS_AT + 3) return { kind: "need", bytes: REQUEST_ADDRESS_AT + 3 };
  if (bytes[offset] !== SOCKS_VERSION) return malformed("first-byte");
  if (bytes[offset + 2] !== 0) return malformed("not-canonical");
  const address = readAddress(bytes, offset + REQUEST_ADDRESS_AT, length - REQUEST_ADDRESS_AT);
  if (address.kind === "unsupported") return { kind: "unsupported", code: SocksReplyCode.addressNotSupported };
  if (address.kind === "malformed") return address;
  if (address.kind === "need") return { kind: "need", bytes: REQUEST_ADDRESS_AT + address.bytes };
  const command = bytes[offset + 1];
  if (command !== COMMAND_CONNECT && command !== COMMAND_ASSOCIATE) {
    return { kind: "unsupported", code: SocksReplyCode.commandNotSupported };
  }
  const { target, length: addressBytes } = address;
  const isConnect = command === COMMAND_CONNECT;
  if (isConnect && target.port === 0) return malformed("address");
  return { kind: "request", command: isConnect ? "connect" : "associate", target, length: REQUEST_ADDRESS_AT + addressBytes };
}

type Address = { readonly kind: "address"; readonly target: ProxyTarget; readonly length: number };

function readAddress(
  bytes: Uint8Array,
  offset: number,
  length: number,
): Address | NeedBytes | Malformed | { readonly kind: "unsupported" } {
  const type = bytes[offset];
  if (type !== ADDRESS_IPV4 && type !== ADDRESS_IPV6 && type !== ADDRESS_NAME) return { kind: "unsupported" };
  const nameBytes = bytes[offset + 1] ?? 0;
  if (type === ADDRESS_NAME && nameBytes === 0) return malformed("empty");
  const hostAt = type === ADDRESS_NAME ? 2 : 1;
  const hostBytes = type === ADDRESS_NAME ? nameBytes : type === ADDRESS_IPV4 ? 4 : 16;
  const whole = hostAt + hostBytes + PORT_BYTES;
  if (length < whole) return { kind: "need", bytes: whole };
  const at = offset + hostAt;
  const host = type === ADDRESS_NAME ? decodeUtf8(bytes, at, hostBytes) : formatIp(bytes, at, type === ADDRESS_IPV4 ? 4 : 16);
  if (host === null) return malformed("not-utf8");
  const port = (bytes[at + hostBytes] ?? 0) << 8 | (bytes[at + hostBytes + 1] ?? 0);
  return { kind: "address", target: { host, port }, length: whole };
}

/** RFC 1928 §6. */
export const SocksReplyCode = {
  succeeded: 0x00,
  notAllowed: 0x02,
  connectionRefused: 0x05,
  commandNotSupported: 0x07,
  addressNotSupported: 0x08,
} as const;
export type SocksReplyCode = typeof SocksReplyCode[keyof typeof SocksReplyCode];

/** No reply is longer. */
export const SOCKS_REPLY_MAX_BYTES = 22;

/** Writes a reply that names the address `ip` (4 or 16 bytes) and port, and returns its length. */
export function encodeSocksReply(bytes: Uint8Array, offset: number, code: SocksReplyCode, ip: Uint8Array, port: number): number {
  bytes[offset] = SOCKS_VERSION;
  bytes[offset + 1] = code;
  bytes[offset + 2] = 0;
  bytes[offset + REQUEST_ADDRESS_AT] = ip.length === 4 ? ADDRESS_IPV4 : ADDRESS_IPV6;
  bytes.set(ip, offset + REQUEST_ADDRESS_AT + 1);
  const portAt = REQUEST_ADDRESS_AT + 1 + ip.length;
  bytes[offset + portAt] = port >> 8;
  bytes[offset + portAt + 1] = port & 0xff;
  return portAt + PORT_BYTES;
}

// UDP header: 0000 | fragment u8 | address | data (the rest)
const DATAGRAM_ADDRESS_AT = 3;

export interface SocksDatagram {
  readonly kind: "datagram";
  readonly target: ProxyTarget;
  /** Bytes of the header; the data is the rest. */
  readonly headerBytes: number;
}

/** The header of a datagram. Fragments are dropped, as RFC 1928 §7 allows. */
export function decodeSocksDatagram(bytes: Uint8Array, offset: number, length: number): SocksDatagram | Malformed {
  if (length < DATAGRAM_ADDRESS_AT + 3) return malformed("truncated");
  if (bytes[offset] !== 0 || bytes[offset + 1] !== 0) return malformed("not-canonical");
  if (bytes[offset + 2] !== 0) return malformed("out-of-range");
  const address = readAddress(bytes, offset + DATAGRAM_ADDRESS_AT, length - DATAGRAM_ADDRESS_AT);
  if (address.kind === "unsupported") return malformed("unknown-code");
  if (address.kind === "need") return malformed("truncated");
  if (address.kind === "malformed") return address;
  if (address.target.port === 0) return malformed("address");
  return { kind: "datagram", target: address.target, headerBytes: DATAGRAM_ADDRESS_AT + address.length };
}
