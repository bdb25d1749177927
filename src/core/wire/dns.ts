/**
 * The little of DNS (RFC 1035, RFC 6891) that answers for names inside a tunnel: one question in, one response out, in the bytes of
 * a UDP datagram's payload. Names are compared in lower case (RFC 4343). No recursion, no compression in what is read: a question's
 * name can not be compressed, for nothing stands before it.
 */
import { type Malformed, malformed } from "./malformed.ts";

export const DNS_HEADER_BYTES = 12;
/** What a client takes without EDNS (RFC 1035 §4.2.1). All of our answers are shorter. */
export const DNS_MESSAGE_BYTES_MAX = 512;
const NAME_BYTES_MAX = 255, LABEL_BYTES_MAX = 63;

export const DnsType = { a: 1, aaaa: 28, any: 255 } as const;
export const DnsCode = { noError: 0, formatError: 1, serverFailure: 2, nameError: 3, notImplemented: 4, refused: 5 } as const;
const CLASS_INTERNET = 1;
const FLAG_RESPONSE = 0x8000, FLAG_AUTHORITATIVE = 0x0400, FLAG_RECURSION_DESIRED = 0x0100;
const OPCODE_MASK = 0x7800;
const POINTER_TO_QUESTION = 0xc000 | DNS_HEADER_BYTES;
const DECODER = new TextDecoder("utf-8", { fatal: true });

/** A question as it came; its bytes stay where they are, for the response repeats them. */
export interface DnsQuestion {
  readonly kind: "question";
  readonly id: number;
  readonly flags: number;
  /** In lower case, without the final dot; empty for the root. */
  readonly name: string;
  readonly type: number;
  /** Of class IN; others are answered with "refused". */
  readonly isInternet: boolean;
  /** A standard query (opcode 0). */
  readonly isQuery: boolean;
  /** Bytes of the message up to the question's end. */
  readonly endsAt: number;
}

/**
 * Reads a message with exactly one question. What follows it (EDNS) is not read. Responses are malformed: to answer one could make
 * two servers talk to each other for ever.
 */
export function decodeDnsQuestion(bytes: Uint8Array, offset: number, length: number): DnsQuestion | Malformed {
  if (length < DNS_HEADER_BYTES) return malformed("truncated");
  if (length > DNS_MESSAGE_BYTES_MAX) return malformed("too-long");
  const word = (at: number) => (bytes[offset + at] ?? 0) << 8 | (bytes[offset + at + 1] ?? 0);
  const flags = word(2);
  if ((flags & FLAG_RESPONSE) !== 0) return malformed("unknown-code");
  if (word(4) !== 1 || word(6) !== 0 || word(8) !== 0) return malformed("out-of-range");
  const labels: string[] = [];
  let at = DNS_HEADER_BYTES;
  for (;;) {
    const labelBytes = at < length ? bytes[offset + at] ?? 0 : -1;
    if (labelBytes < 0) return malformed("truncated");
    at++;
    if (labelBytes === 0) break;
    if (labelBytes > LABEL_BYTES_MAX || at - DNS_HEADER_BYTES + labelBytes >= NAME_BYTES_MAX) return malformed("too-long");
    if (at + labelBytes > length) return malformed("truncated");
    const label = labelText(bytes.subarray(offset + at, offset + at + labelBytes));
    if (label === null) return malformed("not-utf8");
    labels.push(label);
    at += labelBytes;
  }
  if (at + 4 > length) return malformed("truncated");
  return {
    kind: "question",
    id: word(0),
    flags,
    name: labels.join("."),
    type: word(at),
    isInternet: word(at + 2) === CLASS_INTERNET,
    isQuery: (flags & OPCODE_MASK) === 0,
    endsAt: at + 4,
  };
}

/** A dot inside a label must not make it look like two. */
function labelText(label: Uint8Array): string | null {
  try {
    const text = DECODER.decode(label).toLowerCase();
    return text.includes(".") ? null : text;
  } catch {
    return null;
  }
}

/**
 * Writes the response to `question`, whose message lies at `from`, to `to` and returns its length: at most
 * {@linkcode DNS_MESSAGE_BYTES_MAX}. Addresses have 4 bytes (A) or 16 (AAAA).
 */
export function encodeDnsResponse(
  bytes: Uint8Array,
  from: number,
  to: number,
  question: DnsQuestion,
  code: number,
  addresses: readonly Uint8Array[],
  ttlSeconds: number,
): number {
  const answerBytes = addresses.reduce((sum, address) => sum + 12 + address.length, 0);
  const length = question.endsAt + answerBytes;
  const fits = length <= DNS_MESSAGE_BYTES_MAX;
  bytes.copyWithin(to, from, from + question.endsAt);
  const put = (at: number, value: number) => {
    bytes[to + at] = value >> 8;
    bytes[to + at + 1] = value & 255;
  };
  put(2, FLAG_RESPONSE | FLAG_AUTHORITATIVE | question.flags & (OPCODE_MASK | FLAG_RECURSION_DESIRED) | code);
  put(4, 1);
  put(6, fits ? addresses.length : 0);
  put(8, 0);
  put(10, 0);
  if (!fits) return question.endsAt;
  let at = question.endsAt;
  for (const address of addresses) {
    put(at, POINTER_TO_QUESTION);
    put(at + 2, address.length === 4 ? DnsType.a : DnsType.aaaa);
    put(at + 4, CLASS_INTERNET);
    put(at + 6, ttlSeconds >>> 16);
    put(at + 8, ttlSeconds & 0xffff);
    put(at + 10, address.length);
    bytes.set(address, to + at + 12);
    at += 12 + address.length;
  }
  return at;
}
