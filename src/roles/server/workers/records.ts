/** What the worker that decides and those that carry connections say to each other in their rings. */
import type { CertificateSummary, Ending } from "../../../core/quic/mod.ts";

/** `argument` is a stream where nothing else is said; `connection` 0 is none. */
export const RecordKind = {
  /** Bytes of a stream; or-ed with {@linkcode STREAM_ENDS} and {@linkcode STREAM_BEGINS}. */
  stream: 1,
  /** A datagram; downwards `argument` is the number of the peer that sent it. */
  datagram: 2,
  /** So many bytes of a stream (four bytes, little endian) were taken: as many more may come. */
  credit: 3,
  /** Upwards: the peer reset a stream; the four bytes are the code. */
  reset: 4,
  /** Upwards: the peer wants nothing more of a stream. */
  stopped: 5,
  /** Upwards: both directions of a stream are over. */
  gone: 6,
  /** Downwards: abort a direction; four bytes of code. */
  shutdownRead: 7,
  shutdownWrite: 8,
  /** Upwards: may the client of this packet come in? Downwards: it may, and `argument` is its ticket. {@linkcode ASKED_AT}. */
  admission: 9,
  /** Upwards: the ticket `argument` was not used, or its handshake failed. */
  release: 10,
  /** Upwards: a connection stands, with the ticket `argument`; {@linkcode Established}. */
  established: 11,
  /** Upwards: its peer's address changed; the bytes are the sockaddr. */
  migrated: 12,
  /** Upwards: the state of a connection; {@linkcode Facts}. */
  facts: 13,
  /** Upwards: a connection that was established is over; {@linkcode Ending}. Its streams' rests came before. */
  closed: 14,
  /** Downwards: close; {@linkcode Close}. */
  close: 15,
  /** Downwards: have the peer acknowledge something, and tell the facts then. */
  keepAlive: 16,
  /** A packet that the kernel gave to the wrong worker, for the worker `argument`. {@linkcode ASKED_AT}. */
  packet: 18,
  /** Downwards: accept connections (`argument` 1) or no more (0). */
  accept: 17,
} as const;

export const STREAM_ENDS = 0x100, STREAM_BEGINS = 0x200;
export const KIND_MASK = 0xff;

/** In a record with a packet: the number of the socket, the sockaddr, the packet. */
export const ASKED_AT = { socket: 0, address: 4, packet: 36 } as const;

/** A record with a packet that came over the socket with this number, from the sockaddr in the slot. */
export function packetRecord(bytes: Uint8Array, socket: number, offset: number, length: number, from: number): Uint8Array {
  const record = new Uint8Array(ASKED_AT.packet + length);
  record[ASKED_AT.socket] = socket;
  record.set(bytes.subarray(from, from + ASKED_AT.packet - ASKED_AT.address), ASKED_AT.address);
  record.set(bytes.subarray(offset, offset + length), ASKED_AT.packet);
  return record;
}

export interface Established {
  readonly certificate: CertificateSummary | null;
  readonly authorities: readonly CertificateSummary[];
  readonly protocol: string;
  readonly serverName: string;
  readonly tls: { readonly group: string; readonly cipher: string };
  /** What a registration token is proved with; null where none will be. */
  readonly exported: readonly number[] | null;
  readonly address: readonly number[];
  readonly datagramMax: number;
  readonly streamsLeft: number;
}

/** As a `Float64Array`, in this order. */
export const FACTS = [
  "datagramMax",
  "streamsOpened",
  "packetsReceived",
  "packetsSent",
  "packetsLost",
  "datagramsReceived",
  "bytesReceived",
  "bytesSent",
  "rttMs",
  "congestionWindowBytes",
  "pathMtuBytes",
] as const;

export type Facts = { [F in typeof FACTS[number]]: number };

/** What is known when a connection begins. */
export function firstFacts({ datagramMax, streamsLeft }: Established): Facts {
  const none = Object.fromEntries(FACTS.map((name) => [name, 0])) as Facts;
  return { ...none, datagramMax, streamsOpened: streamsLeft };
}

export interface Close {
  readonly isApplication: boolean;
  readonly code: number;
  readonly reason: string;
}

export type Closed = Ending;

/** A number as four bytes; they are good until the next call. */
export function wordBytes(value: number): Uint8Array {
  word[0] = Math.min(value, 0xffff_ffff);
  return wordAsBytes;
}

const word = new Uint32Array(1);
const wordAsBytes = new Uint8Array(word.buffer);
