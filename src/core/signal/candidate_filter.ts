/**
 * Which addresses one peer may make another one send to. Candidates are believed by nobody: what is not the address of one
 * host, or is one that only a neighbour could mean, is left out before it is passed on (WIRE 6.6).
 */

import { parseIpv4, parseIpv6, type SocketAddress } from "../../base/mod.ts";
import { type Candidate, CANDIDATES_MAX } from "../wire/mod.ts";

export interface CandidateOptions {
  /** Lets 127.0.0.0/8 and ::1 pass: for tests on one machine only. */
  readonly allowLoopback: boolean;
}

/** The candidates that may be passed on, without repetitions, at most 32. */
export function filterCandidates(candidates: readonly Candidate[], options: CandidateOptions): Candidate[] {
  const kept: Candidate[] = [];
  const seen = new Set<string>();
  for (const candidate of candidates) {
    if (kept.length >= CANDIDATES_MAX) break;
    const { address, relatedAddress } = candidate;
    const key = `${candidate.type} ${address.ip} ${address.port}`;
    if (seen.has(key) || !isUsableAddress(address, options)) continue;
    seen.add(key);
    const related = relatedAddress !== null && isUsableAddress(relatedAddress, options) ? relatedAddress : null;
    kept.push(related === relatedAddress ? candidate : { ...candidate, relatedAddress: related });
  }
  return kept;
}

/** Whether an address is one host's, and not only on the sender's own link. */
export function isUsableAddress(address: SocketAddress, options: CandidateOptions): boolean {
  if (address.port < 1 || address.port > 65535) return false;
  const v4 = parseIpv4(address.ip);
  if (v4 !== null) return isUsableIpv4(v4, options);
  const v6 = parseIpv6(address.ip);
  return v6 !== null && isUsableIpv6(v6, options);
}

function isUsableIpv4(bytes: Uint8Array, options: CandidateOptions): boolean {
  const [a = 0, b = 0] = bytes;
  // 0.0.0.0/8 this network; 224.0.0.0/4 multicast; 240.0.0.0/4 reserved, with the broadcast address (RFC 6890).
  if (a === 0 || a >= 224) return false;
  if (a === 127) return options.allowLoopback;
  // 169.254.0.0/16 link-local, which is also where clouds keep their metadata services.
  return !(a === 169 && b === 254);
}

function isUsableIpv6(bytes: Uint8Array, options: CandidateOptions): boolean {
  const [a = 0, b = 0] = bytes;
  // ff00::/8 multicast; fe80::/10 link-local, whose scope the wire does not carry.
  if (a === 0xff || (a === 0xfe && (b & 0xc0) === 0x80)) return false;
  if (bytes.subarray(0, 10).some((byte) => byte !== 0)) return true;
  if (bytes[10] === 0xff && bytes[11] === 0xff) return isUsableIpv4(bytes.subarray(12), options);
  const isLoopback = bytes.subarray(10, 15).every((byte) => byte === 0) && bytes[15] === 1;
  // What is left of ::/80 is the unspecified address and forms that nobody uses any more.
  return isLoopback && options.allowLoopback;
}
