/**
 * What is said to the sender of a packet that the server does not relay, so that it need not wait for what never comes: RST to a
 * TCP segment (RFC 9293 §3.5.2), ICMP "host unreachable" to anything else (RFC 1122 §3.2.2, RFC 4443 §3.1). The answer goes back on
 * the connection that the packet came on, so many a second for each; nobody else can be made to hear it.
 */
import { TokenBucket } from "../../core/ratelimit/mod.ts";
import type { Registry } from "../../core/registry/mod.ts";
import {
  encodeRoutedHeader,
  encodeTcp,
  encodeUnreachable,
  icmpErrorMaxBytes,
  IpHeader,
  ipHeaderBytes,
  IpProtocol,
  readReversedEnds,
  ROUTED_ID_AT,
  TCP_HEADER_BYTES,
  TcpFlag,
  TcpHeader,
} from "../../core/wire/mod.ts";
import type { Plane } from "../control/mod.ts";
import { isIcmpError } from "./inner_icmp.ts";
import { REJECTIONS_PER_PEER, ROUTED_HEADROOM_BYTES } from "./limits.ts";
import type { ServerMetric } from "./metrics.ts";
import type { Peer } from "./peer.ts";

export class Rejections {
  readonly #plane: Plane;
  readonly #registry: Registry;
  readonly #count: (metric: ServerMetric) => void;
  readonly #ends = new IpHeader();
  readonly #tcp = new TcpHeader();
  /** Behind room for a ROUTED header. */
  readonly #replyAt: number;

  constructor(plane: Plane, registry: Registry, count: (metric: ServerMetric) => void) {
    this.#plane = plane;
    this.#registry = registry;
    this.#count = count;
    this.#replyAt = plane.platform.layout.reserve(ROUTED_HEADROOM_BYTES + icmpErrorMaxBytes(false)) + ROUTED_HEADROOM_BYTES;
  }

  /**
   * Answers `from` for the packet of `length` bytes at `offset`, which came for `service` (-1: without a name) and was dropped as it
   * came. RST and ICMP errors are never answered.
   */
  answer(from: Peer, service: number, offset: number, length: number, nowMs: number): void {
    const memory = this.#plane.platform.engine.arena;
    if (isIcmpError(memory.bytes, offset)) return;
    const id = from.isV2 ? this.#registry.serviceIdBytes(service) : null;
    if (from.isV2 && id === null) return;
    const bucket = from.rejections ??= new TokenBucket(REJECTIONS_PER_PEER, nowMs);
    if (!bucket.has(1, nowMs)) return this.#count("rejectionsSuppressed");
    readReversedEnds(memory.view, offset, this.#ends);
    const isTcp = memory.view.getUint8(offset + (this.#ends.isIpv4 ? 9 : 6)) === IpProtocol.tcp;
    let at = this.#replyAt;
    let size = isTcp
      ? this.#encodeReset(at, offset, length)
      : encodeUnreachable(memory, at, this.#ends, "host", memory, offset, length);
    if (size === 0) return;
    if (id !== null) {
      at -= ROUTED_ID_AT + id.length;
      size += encodeRoutedHeader(memory.bytes, at, id);
    }
    if (from.connection.engine.datagramSend(at, size) < 0) return;
    from.connection.touch();
    bucket.spend(1);
    this.#count(isTcp ? "rejectedReset" : "rejectedUnreachable");
  }

  /** RST as RFC 9293 §3.10.7.1 has it, or 0 for a segment that is RST itself. */
  #encodeReset(at: number, offset: number, length: number): number {
    const memory = this.#plane.platform.engine.arena;
    const { view } = memory;
    const headerAt = offset + (this.#ends.isIpv4 ? (view.getUint8(offset) & 15) * 4 : ipHeaderBytes(false));
    const flags = view.getUint8(headerAt + 13);
    if ((flags & TcpFlag.rst) !== 0) return 0;
    const out = this.#tcp;
    const hasAck = (flags & TcpFlag.ack) !== 0;
    const dataAt = headerAt + Math.max(TCP_HEADER_BYTES, (view.getUint8(headerAt + 12) >> 4) * 4);
    const counted = Math.max(0, offset + length - dataAt) + ((flags & TcpFlag.syn) !== 0 ? 1 : 0) +
      ((flags & TcpFlag.fin) !== 0 ? 1 : 0);
    out.sourcePort = view.getUint16(headerAt + 2);
    out.destinationPort = view.getUint16(headerAt);
    out.sequence = hasAck ? view.getInt32(headerAt + 8) : 0;
    out.acknowledgement = hasAck ? 0 : (view.getInt32(headerAt + 4) + counted) | 0;
    out.flags = hasAck ? TcpFlag.rst : TcpFlag.rst | TcpFlag.ack;
    return encodeTcp(memory, at, this.#ends, out);
  }
}
