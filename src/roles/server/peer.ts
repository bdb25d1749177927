/** A client of the server whose handshake has ended: who it is, what it may ask for, and what it has open. */
import { Timer } from "../../base/mod.ts";
import type { CertificateNumber, Identity } from "../../core/auth/mod.ts";
import type { CertificateSummary, Connection } from "../../core/quic/mod.ts";
import type { PeerLimiter, TokenBucket } from "../../core/ratelimit/mod.ts";
import { ALPN_V2 } from "../../core/wire/mod.ts";
import type { SignalOutbox } from "./signal_outbox.ts";

/** Server-initiated bidirectional streams are 1, 5, 9, … (RFC 9000 §2.1). */
const FIRST_STREAM = 1;
const STREAM_STEP = 4;
/** Warnings about one peer: each reason once, and no more reasons than this. */
const WARNINGS_MAX = 8;

/** What a stream of a peer is to the server. */
export interface PeerStream {
  onReadable(connection: Connection, nowMs: number): void;
  onWritable(connection: Connection): void;
  /** One of the connections that it lives on is gone. */
  connectionLost(connection: Connection): void;
}

export class Peer {
  readonly connection: Connection;
  readonly certificate: CertificateSummary | null;
  /** What it presented above its certificate. */
  authorities: readonly CertificateNumber[] = [];
  /** Null for a client without a verified certificate or token. */
  identity: Identity | null;
  /** The public key of the issuer whose token it proved; null for all others. */
  tokenIssuer: Uint8Array | null = null;
  readonly protocol: string;
  /** Its datagrams carry packets in a ROUTED frame, and it may open streams to services. */
  readonly isV2: boolean;
  readonly limiter: PeerLimiter;
  /** False while it still has to prove a registration token (WIRE 8.4): until then it may do nothing else. */
  isAdmitted: boolean;
  /** It has begun to prove a token: it may do so once, whatever comes of it. */
  hasBegunProof = false;
  /** Streams of this connection, opened by either end. */
  readonly streams = new Map<number, PeerStream>();
  /** When its certificate must be looked at again. */
  validity: Timer | null = null;
  /** Signalling on its way to it; null until there was any. */
  signals: SignalOutbox | null = null;
  /** Malformed signalling messages since the last good one. */
  malformedSignals = 0;
  /** Answers to its packets that are not relayed; null until there was one. */
  rejections: TokenBucket | null = null;
  readonly #warned = new Set<string>();
  #nextStream = FIRST_STREAM;

  constructor(
    connection: Connection,
    certificate: CertificateSummary | null,
    identity: Identity | null,
    limiter: PeerLimiter,
    isAdmitted: boolean,
  ) {
    this.connection = connection;
    this.certificate = certificate;
    this.identity = identity;
    this.limiter = limiter;
    this.isAdmitted = isAdmitted;
    this.protocol = connection.engine.applicationProtocol();
    this.isV2 = this.protocol === ALPN_V2;
  }

  get id(): number {
    return this.connection.id;
  }

  /** How logs call it: its name and the number of its connection, never its address. */
  get label(): string {
    return `${this.identity?.commonName ?? "anonymous"}#${this.id}`;
  }

  /** Whether a warning for this reason is due: once for each reason, and for so many reasons. */
  warnsOf(reason: string): boolean {
    if (this.#warned.size >= WARNINGS_MAX || this.#warned.has(reason)) return false;
    this.#warned.add(reason);
    return true;
  }

  /** The next stream that we may open to it, or -1 when it allows none now. */
  takeStream(): number {
    if (this.connection.engine.streamsLeft() <= 0) return -1;
    const stream = this.#nextStream;
    this.#nextStream += STREAM_STEP;
    return stream;
  }
}
