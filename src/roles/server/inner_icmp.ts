/** Whether an inner packet, which the flow table has found to be whole, is an ICMP error: nobody answers those. */

const PROTOCOL_ICMP = 1, PROTOCOL_ICMPV6 = 58;

/** Everything of ICMP that is no echo; the flow table lets nothing else through. */
export function isIcmpError(bytes: Uint8Array, offset: number): boolean {
  const first = bytes[offset] ?? 0;
  if (first >> 4 === 4) {
    const type = bytes[offset + (first & 15) * 4];
    return bytes[offset + 9] === PROTOCOL_ICMP && type !== 0 && type !== 8;
  }
  return bytes[offset + 6] === PROTOCOL_ICMPV6 && (bytes[offset + 40] ?? 0) < 128;
}
