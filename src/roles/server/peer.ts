/** A client of the server whose handshake has ended: who it is, and what it has open. */
import type { Identity } from "../../core/auth/mod.ts";
import type { CertificateSummary, Connection } from "../../core/quic/mod.ts";
import type { RelayedStream } from "./stream_relay.ts";

/** Server-initiated bidirectional streams are 1, 5, 9, … (RFC 9000 §2.1). */
const FIRST_STREAM = 1;
const STREAM_STEP = 4;

export class Peer {
  readonly connection: Connection;
  readonly certificate: CertificateSummary | null;
  /** Null for a client without a verified certificate. */
  readonly identity: Identity | null;
  readonly protocol: string;
  /** Streams of this connection, opened by either end. */
  readonly streams = new Map<number, RelayedStream>();
  /** One warning for each reason is enough. */
  readonly warned = new Set<string>();
  #nextStream = FIRST_STREAM;

  constructor(connection: Connection, certificate: CertificateSummary | null, identity: Identity | null, protocol: string) {
    this.connection = connection;
    this.certificate = certificate;
    this.identity = identity;
    this.protocol = protocol;
  }

  get id(): number {
    return this.connection.id;
  }

  /** How logs call it: its name and the number of its connection, never its address. */
  get label(): string {
    return `${this.identity?.commonName ?? "anonymous"}#${this.id}`;
  }

  /** The next stream that we may open to it, or -1 when it allows none now. */
  takeStream(): number {
    if (this.connection.engine.streamsLeft() <= 0) return -1;
    const stream = this.#nextStream;
    this.#nextStream += STREAM_STEP;
    return stream;
  }
}
