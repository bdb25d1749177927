/**
 * The version-independent part of a QUIC packet (RFC 8999): enough to find the connection that it belongs to. Bytes come from
 * anybody: nothing here throws, and nothing is believed beyond its length.
 */

/** The length of every connection ID that we choose. */
export const LOCAL_CID_BYTES = 16;
const CID_BYTES_MAX = 20;
/** RFC 9000 §7.2: the shortest ID that a client may choose for the server in its first packets. */
export const CID_BYTES_MIN_FROM_CLIENT = 8;
export const QUIC_VERSION_1 = 1;
/** RFC 9000 §14.1: a client's first packets are padded to this, and shorter ones are not answered. */
export const INITIAL_BYTES_MIN = 1200;

export const PacketType = {
  malformed: 0,
  short: 1,
  initial: 2,
  zeroRtt: 3,
  handshake: 4,
  retry: 5,
  otherVersion: 6,
  versionNegotiation: 7,
} as const;

/** What {@linkcode readLongHeader} found. One object is reused; read it before the next packet. */
export interface LongHeader {
  type: number;
  version: number;
  destinationOffset: number;
  destinationLength: number;
  sourceOffset: number;
  sourceLength: number;
  /** Offset and length of the token of an Initial. */
  tokenOffset: number;
  tokenLength: number;
}

export function emptyLongHeader(): LongHeader {
  return {
    type: PacketType.malformed,
    version: 0,
    destinationOffset: 0,
    destinationLength: 0,
    sourceOffset: 0,
    sourceLength: 0,
    tokenOffset: 0,
    tokenLength: 0,
  };
}

/** Reads a long header (first bit set) into `out` and returns its type. */
export function readLongHeader(view: DataView, offset: number, length: number, out: LongHeader): number {
  out.type = PacketType.malformed;
  if (length < 7) return out.type;
  const end = offset + length;
  out.version = view.getUint32(offset + 1);
  out.destinationLength = view.getUint8(offset + 5);
  out.destinationOffset = offset + 6;
  const sourceAt = out.destinationOffset + out.destinationLength;
  if (sourceAt >= end) return out.type;
  out.sourceLength = view.getUint8(sourceAt);
  out.sourceOffset = sourceAt + 1;
  const next = out.sourceOffset + out.sourceLength;
  if (next > end) return out.type;
  if (out.version === 0) return out.type = PacketType.versionNegotiation;
  if (out.version !== QUIC_VERSION_1) return out.type = PacketType.otherVersion;
  if (out.destinationLength > CID_BYTES_MAX || out.sourceLength > CID_BYTES_MAX) return out.type;
  const type = PacketType.initial + ((view.getUint8(offset) >> 4) & 3);
  if (type === PacketType.initial && !readToken(view, next, end, out)) return out.type;
  return out.type = type;
}

/**
 * Bytes of the first packet in `length` bytes at `offset`: behind a long header with a length of its own another packet may stand (RFC
 * 9000 §12.2). All of them where there is no such length. `scratch` is overwritten.
 */
export function firstPacketBytes(view: DataView, offset: number, length: number, scratch: LongHeader): number {
  if ((view.getUint8(offset) & 0x80) === 0) return length;
  const type = readLongHeader(view, offset, length, scratch);
  const isInitial = type === PacketType.initial;
  if (!isInitial && type !== PacketType.handshake && type !== PacketType.zeroRtt) return length;
  const at = isInitial ? scratch.tokenOffset + scratch.tokenLength : scratch.sourceOffset + scratch.sourceLength;
  const end = offset + length;
  const bytes = varintBytes(view, at, end);
  if (bytes === 0) return length;
  const packetEnd = at + bytes + readVarint(view, at, bytes);
  return packetEnd <= end ? packetEnd - offset : length;
}

function readToken(view: DataView, at: number, end: number, out: LongHeader): boolean {
  const bytes = varintBytes(view, at, end);
  if (bytes === 0) return false;
  out.tokenOffset = at + bytes;
  out.tokenLength = readVarint(view, at, bytes);
  return out.tokenOffset + out.tokenLength <= end;
}

/** Bytes of the variable-length integer (RFC 9000 §16) at `at`: 1, 2 or 4; 0 when it is cut, or larger than any packet. */
function varintBytes(view: DataView, at: number, end: number): number {
  if (at >= end) return 0;
  const bytes = 1 << (view.getUint8(at) >> 6);
  return at + bytes > end || bytes > 4 ? 0 : bytes;
}

function readVarint(view: DataView, at: number, bytes: number): number {
  let value = view.getUint8(at) & 0x3f;
  for (let i = 1; i < bytes; i++) value = value * 256 + view.getUint8(at + i);
  return value;
}
