/**
 * What is said to the sender of a packet that the next connection cannot carry: ICMP "fragmentation needed" (RFC 1191) or "packet
 * too big" (RFC 4443 §3.2), from the address that the packet was for, with the size that passes. ICMP errors themselves are
 * never answered (RFC 1122 §3.2.2).
 */
import type { FlowTable, Registry } from "../../core/registry/mod.ts";
import {
  encodeRoutedHeader,
  encodeTooBig,
  icmpErrorMaxBytes,
  IpHeader,
  readReversedEnds,
  ROUTED_ID_AT,
} from "../../core/wire/mod.ts";
import type { Plane } from "../control/mod.ts";
import { isIcmpError } from "./inner_icmp.ts";
import { ROUTED_HEADROOM_BYTES } from "./limits.ts";
import type { Peer } from "./peer.ts";

export class TooLarge {
  readonly #plane: Plane;
  readonly #flows: FlowTable;
  readonly #registry: Registry;
  readonly #ends = new IpHeader();
  /** Behind room for a ROUTED header. */
  readonly #replyAt: number;

  constructor(plane: Plane, flows: FlowTable, registry: Registry) {
    this.#plane = plane;
    this.#flows = flows;
    this.#registry = registry;
    this.#replyAt = plane.platform.layout.reserve(ROUTED_HEADROOM_BYTES + icmpErrorMaxBytes(false)) + ROUTED_HEADROOM_BYTES;
  }

  /**
   * Answers `from` for the packet of `length` bytes at `offset`, which the flow table made ready for `to` and which did not fit.
   * Returns whether there is an answer.
   */
  answer(from: Peer, to: Peer, slot: number, side: "agent" | "connector", offset: number, length: number): boolean {
    const { engine } = this.#plane.platform;
    const memory = engine.arena;
    const service = this.#registry.serviceIdBytes(this.#flows.serviceOf(slot));
    if (service === null) return false;
    // Of an error's own flow only the quoted packet is known: its addresses cannot be put back, and it wants no answer.
    if (isIcmpError(memory.bytes, offset)) return false;
    this.#flows.restore(slot, side, memory.bytes, offset, length);
    const passes = to.connection.engine.datagramMax() - (to.isV2 ? ROUTED_ID_AT + service.length : 0);
    if (passes <= 0) return false;
    readReversedEnds(memory.view, offset, this.#ends);
    let at = this.#replyAt;
    let size = encodeTooBig(memory, at, this.#ends, passes, memory, offset, length);
    if (from.isV2) {
      at -= ROUTED_ID_AT + service.length;
      size += encodeRoutedHeader(memory.bytes, at, service);
    }
    if (from.connection.engine.datagramSend(at, size) < 0) return false;
    from.connection.touch();
    return true;
  }
}
