/**
 * TCP segments (RFC 9293 §3.1) with the options MSS, window scale and timestamps (RFC 7323), SACK (RFC 2018). Sequence
 * numbers are signed 32-bit integers: differences of them wrap as TCP wants it. One header object serves both ways: a decoder
 * fills it, an encoder writes it; it is kept by the caller, so that a segment costs no allocation.
 */
import { foldSum, type PacketMemory, sumWords } from "./checksum.ts";
import { encodeIp, type IpEnds, type IpHeader, ipHeaderBytes, IpProtocol, pseudoHeaderSum } from "./ip.ts";

export const TCP_HEADER_BYTES = 20;
export const TCP_OPTIONS_MAX_BYTES = 40;
export const TcpFlag = { fin: 0x01, syn: 0x02, rst: 0x04, psh: 0x08, ack: 0x10, urg: 0x20, ece: 0x40, cwr: 0x80 } as const;
/** As many as fit in the options of a segment without timestamps. */
export const SACK_BLOCKS_MAX = 4;

const SOURCE_PORT_AT = 0, DESTINATION_PORT_AT = 2, SEQUENCE_AT = 4, ACKNOWLEDGEMENT_AT = 8;
const DATA_OFFSET_AT = 12, FLAGS_AT = 13, WINDOW_AT = 14, CHECKSUM_AT = 16;

/** Option kinds and lengths; an unknown option is skipped by its length. */
const OPTION_END = 0, OPTION_NOP = 1;
const OPTION_MSS = 2, MSS_BYTES = 4;
const OPTION_WINDOW_SCALE = 3, WINDOW_SCALE_BYTES = 3;
const OPTION_SACK_PERMITTED = 4, SACK_PERMITTED_BYTES = 2;
const OPTION_SACK = 5, SACK_BLOCK_BYTES = 8;
const OPTION_TIMESTAMP = 8, TIMESTAMP_BYTES = 10;
/** RFC 7323 §2.3: a larger shift is taken as 14. */
export const WINDOW_SCALE_MAX = 14;

export type TcpVerdict =
  | "ok"
  | "truncated"
  /** A data offset below 20 bytes or over the segment. */
  | "data-offset"
  | "checksum"
  /** An option with a length that cannot be. */
  | "options"
  /** A source or destination port of 0. */
  | "port";

/** One segment: what a decoder found, or what an encoder shall write. */
export class TcpHeader {
  sourcePort = 0;
  destinationPort = 0;
  sequence = 0;
  acknowledgement = 0;
  flags = 0;
  /** As in the field, not scaled. */
  window = 0;
  /** The option's value, or 0 when absent. */
  mssBytes = 0;
  /** The option's value, at most 14, or -1 when absent. */
  windowScale = -1;
  sackPermitted = false;
  sackCount = 0;
  /** `sackCount` pairs of left edge and right edge. */
  readonly sackEdges: Int32Array = new Int32Array(2 * SACK_BLOCKS_MAX);
  hasTimestamp = false;
  timestampValue = 0;
  timestampEcho = 0;
  payloadOffset = 0;
  payloadBytes = 0;
}

/** Removes all options from a header that is to be filled again. */
export function clearTcpOptions(header: TcpHeader): void {
  header.mssBytes = 0;
  header.windowScale = -1;
  header.sackPermitted = false;
  header.sackCount = 0;
  header.hasTimestamp = false;
}

/** Reads the payload of the decoded packet `ip` as a TCP segment. */
export function decodeTcp(memory: PacketMemory, ip: IpHeader, out: TcpHeader): TcpVerdict {
  const view = memory.view;
  const at = ip.payloadOffset;
  const length = ip.payloadBytes;
  if (length < TCP_HEADER_BYTES) return "truncated";
  const headerBytes = (view.getUint8(at + DATA_OFFSET_AT) >> 4) * 4;
  if (headerBytes < TCP_HEADER_BYTES || headerBytes > length) return "data-offset";
  if (foldSum(sumWords(view, at, length, pseudoHeaderSum(ip, IpProtocol.tcp, length))) !== 0xffff) return "checksum";
  out.sourcePort = view.getUint16(at + SOURCE_PORT_AT);
  out.destinationPort = view.getUint16(at + DESTINATION_PORT_AT);
  out.sequence = view.getInt32(at + SEQUENCE_AT);
  out.acknowledgement = view.getInt32(at + ACKNOWLEDGEMENT_AT);
  out.flags = view.getUint8(at + FLAGS_AT);
  out.window = view.getUint16(at + WINDOW_AT);
  out.payloadOffset = at + headerBytes;
  out.payloadBytes = length - headerBytes;
  clearTcpOptions(out);
  if (headerBytes > TCP_HEADER_BYTES && !decodeOptions(view, at + TCP_HEADER_BYTES, at + headerBytes, out)) return "options";
  return out.sourcePort === 0 || out.destinationPort === 0 ? "port" : "ok";
}

/** RFC 9293 §3.1: false when a length runs over the header or is not the option's. */
function decodeOptions(view: DataView, from: number, end: number, out: TcpHeader): boolean {
  let at = from;
  while (at < end) {
    const kind = view.getUint8(at);
    if (kind === OPTION_END) return true;
    if (kind === OPTION_NOP) {
      at++;
      continue;
    }
    const length = at + 1 < end ? view.getUint8(at + 1) : 0;
    if (length < 2 || at + length > end || !decodeOption(view, at, kind, length, out)) return false;
    at += length;
  }
  return true;
}

function decodeOption(view: DataView, at: number, kind: number, length: number, out: TcpHeader): boolean {
  switch (kind) {
    case OPTION_MSS:
      out.mssBytes = length === MSS_BYTES ? view.getUint16(at + 2) : 0;
      return length === MSS_BYTES;
    case OPTION_WINDOW_SCALE:
      out.windowScale = length === WINDOW_SCALE_BYTES ? Math.min(view.getUint8(at + 2), WINDOW_SCALE_MAX) : -1;
      return length === WINDOW_SCALE_BYTES;
    case OPTION_SACK_PERMITTED:
      out.sackPermitted = true;
      return length === SACK_PERMITTED_BYTES;
    case OPTION_SACK:
      if ((length - 2) % SACK_BLOCK_BYTES !== 0 || length < 2 + SACK_BLOCK_BYTES) return false;
      out.sackCount = Math.min((length - 2) / SACK_BLOCK_BYTES, SACK_BLOCKS_MAX);
      for (let i = 0; i < 2 * out.sackCount; i++) out.sackEdges[i] = view.getInt32(at + 2 + 4 * i);
      return true;
    case OPTION_TIMESTAMP:
      if (length !== TIMESTAMP_BYTES) return false;
      out.hasTimestamp = true;
      out.timestampValue = view.getInt32(at + 2);
      out.timestampEcho = view.getInt32(at + 6);
      return true;
    default:
      return true;
  }
}

/** The length of the TCP header with the options that `header` names, a multiple of 4. Each is padded with NOPs to 4. */
export function tcpHeaderBytes(header: TcpHeader): number {
  let length = TCP_HEADER_BYTES;
  if (header.mssBytes > 0) length += 4;
  if (header.windowScale >= 0) length += 4;
  if (header.sackPermitted) length += 4;
  if (header.hasTimestamp) length += 12;
  if (header.sackCount > 0) length += 4 + SACK_BLOCK_BYTES * header.sackCount;
  return length;
}

/**
 * Writes the IP and TCP headers at `offset`, in front of `header.payloadBytes` that lie already behind them (at
 * `offset + ipHeaderBytes + tcpHeaderBytes`), and returns the packet's length. The options may take 40 bytes at most.
 */
export function encodeTcp(memory: PacketMemory, offset: number, ends: IpEnds, header: TcpHeader): number {
  const view = memory.view;
  const at = offset + ipHeaderBytes(ends.isIpv4);
  const headerBytes = tcpHeaderBytes(header);
  const length = headerBytes + header.payloadBytes;
  view.setUint16(at + SOURCE_PORT_AT, header.sourcePort);
  view.setUint16(at + DESTINATION_PORT_AT, header.destinationPort);
  view.setInt32(at + SEQUENCE_AT, header.sequence);
  view.setInt32(at + ACKNOWLEDGEMENT_AT, header.acknowledgement);
  view.setUint8(at + DATA_OFFSET_AT, headerBytes << 2);
  view.setUint8(at + FLAGS_AT, header.flags);
  view.setUint16(at + WINDOW_AT, header.window);
  // The checksum, and the urgent pointer behind it, which is not used (RFC 6093).
  view.setInt32(at + CHECKSUM_AT, 0);
  if (headerBytes > TCP_HEADER_BYTES) encodeOptions(view, at + TCP_HEADER_BYTES, header);
  const sum = sumWords(view, at, length, pseudoHeaderSum(ends, IpProtocol.tcp, length));
  view.setUint16(at + CHECKSUM_AT, ~foldSum(sum) & 0xffff);
  return encodeIp(memory, offset, ends, IpProtocol.tcp, length);
}

function encodeOptions(view: DataView, from: number, header: TcpHeader): void {
  let at = from;
  if (header.mssBytes > 0) {
    view.setInt32(at, OPTION_MSS << 24 | MSS_BYTES << 16 | header.mssBytes);
    at += 4;
  }
  if (header.sackPermitted) {
    view.setInt32(at, OPTION_NOP << 24 | OPTION_NOP << 16 | OPTION_SACK_PERMITTED << 8 | SACK_PERMITTED_BYTES);
    at += 4;
  }
  if (header.hasTimestamp) {
    view.setInt32(at, OPTION_NOP << 24 | OPTION_NOP << 16 | OPTION_TIMESTAMP << 8 | TIMESTAMP_BYTES);
    view.setInt32(at + 4, header.timestampValue);
    view.setInt32(at + 8, header.timestampEcho);
    at += 12;
  }
  if (header.windowScale >= 0) {
    view.setInt32(at, OPTION_NOP << 24 | OPTION_WINDOW_SCALE << 16 | WINDOW_SCALE_BYTES << 8 | header.windowScale);
    at += 4;
  }
  if (header.sackCount > 0) {
    const optionBytes = 2 + SACK_BLOCK_BYTES * header.sackCount;
    view.setInt32(at, OPTION_NOP << 24 | OPTION_NOP << 16 | OPTION_SACK << 8 | optionBytes);
    for (let i = 0; i < 2 * header.sackCount; i++) view.setInt32(at + 4 + 4 * i, header.sackEdges[i] ?? 0);
  }
}
