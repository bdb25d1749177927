/**
 * Where a peer's packets come from: a copy of a socket address that is compared with the slot of each packet, without
 * allocating. The slots are Linux's `sockaddr_in` and `sockaddr_in6`, as sockets and engine pass them.
 */
import { formatIp, formatSocketAddress } from "../../base/mod.ts";

/** Family in the first two bytes (host order), port in the next two; IPv4 at 4, IPv6 at 8. */
const FAMILY_AT = 0, IPV4_AT = 4, IPV6_AT = 8;
const AF_INET = 2;
const IPV6_WORDS = 4;

export class PeerAddress {
  #familyAndPort = 0;
  #ipv4 = 0;
  readonly #ipv6 = new Int32Array(IPV6_WORDS);

  /** Copies the slot at `offset`. */
  set(view: DataView, offset: number): void {
    this.#familyAndPort = view.getInt32(offset + FAMILY_AT, true);
    this.#ipv4 = isIpv4(this.#familyAndPort) ? view.getInt32(offset + IPV4_AT, true) : 0;
    if (isIpv4(this.#familyAndPort)) return;
    for (let word = 0; word < IPV6_WORDS; word++) this.#ipv6[word] = view.getInt32(offset + IPV6_AT + 4 * word, true);
  }

  /** Whether the slot at `offset` has this address and port. */
  matches(view: DataView, offset: number): boolean {
    if (view.getInt32(offset + FAMILY_AT, true) !== this.#familyAndPort) return false;
    if (isIpv4(this.#familyAndPort)) return view.getInt32(offset + IPV4_AT, true) === this.#ipv4;
    for (let word = 0; word < IPV6_WORDS; word++) {
      if (view.getInt32(offset + IPV6_AT + 4 * word, true) !== this.#ipv6[word]) return false;
    }
    return true;
  }

  /** `ip:port` or `[ip]:port`, for status pages. */
  toString(): string {
    const swapped = this.#familyAndPort >>> 16;
    const port = (swapped & 0xff) << 8 | swapped >>> 8;
    if (isIpv4(this.#familyAndPort)) {
      return formatSocketAddress({ ip: formatIp(littleEndianBytes([this.#ipv4]), 0, 4), port });
    }
    return formatSocketAddress({ ip: formatIp(littleEndianBytes(this.#ipv6), 0, 16), port });
  }
}

function littleEndianBytes(words: Iterable<number>): Uint8Array {
  return Uint8Array.from([...words].flatMap((word) => [word, word >>> 8, word >>> 16, word >>> 24]));
}

function isIpv4(familyAndPort: number): boolean {
  return (familyAndPort & 0xffff) === AF_INET;
}
