/**
 * The interface between our endpoint and whatever speaks QUIC below it.
 *
 * `ffi/quiche` implements it with quiche; `tests/sim` implements it in memory, deterministic, with virtual time. The endpoint,
 * the relay and the roles see only this file. Everything here is synchronous and names bytes by their offset in one
 * {@linkcode Arena}, so that a packet is never copied or wrapped on its way from the socket to the engine.
 *
 * Numbers below zero are errors, as in quiche: see {@linkcode EngineError}.
 */

/** One block of memory that sockets, engine and roles share. In the simulation `address` is 0n and nobody uses it. */
export interface Arena {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView<ArrayBuffer>;
  /** The address of byte 0, stable for the life of the arena. */
  readonly address: bigint;
}

/** The negative results of engine calls. The values are quiche's, so that the binding passes them through. */
export const EngineError = {
  done: -1,
  bufferTooShort: -2,
  unknownVersion: -3,
  invalidFrame: -4,
  invalidPacket: -5,
  invalidState: -6,
  invalidStreamState: -7,
  cryptoFail: -9,
  tlsFail: -10,
  flowControl: -11,
  streamLimit: -12,
  streamStopped: -15,
  streamReset: -16,
  idLimit: -17,
  outOfIdentifiers: -18,
} as const;

/** Why a connection ended, as one end told the other (RFC 9000 §19.19). */
export interface CloseInfo {
  /** An application's close (0x1d) rather than the transport's (0x1c). */
  readonly isApplication: boolean;
  readonly code: number;
  readonly reason: string;
}

/** What the library that verified a certificate reads in it: one parser for verification and for authorisation. */
export interface CertificateSummary {
  /** The subject's (last) common name; null when there is none. */
  readonly commonName: string | null;
  /** RFC 2253 style, for people and logs. */
  readonly subject: string;
  readonly issuer: string;
  /** Lower-case hexadecimal, no separators. */
  readonly serial: string;
  readonly dnsNames: readonly string[];
  readonly uris: readonly string[];
  /** IP addresses of the SAN in text form. */
  readonly ipAddresses: readonly string[];
  /** Milliseconds since the epoch. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** SHA-256 of the DER certificate, lower-case hexadecimal. */
  readonly fingerprint: string;
  /** SHA-256 of the SubjectPublicKeyInfo, base64, as in `--pin-sha256`. */
  readonly spkiSha256: string;
  readonly isSelfSigned: boolean;
}

/**
 * One QUIC connection. Offsets are into the engine's arena. A method may be called at any time until {@linkcode free};
 * calls on a closed connection return an error.
 */
export interface EngineConnection {
  /** Takes in one UDP payload. `fromAddress` and `toAddress` are offsets of sockaddr slots. Returns bytes read or an error. */
  recv(packet: number, length: number, fromAddress: number, toAddress: number): number;
  /**
   * Writes the next UDP payload to the arena. Returns its length, or `EngineError.done` when there is nothing to send. The
   * destination stands in the engine's {@linkcode Engine.sendTo} slot afterwards, the source in {@linkcode Engine.sendFrom}.
   */
  send(packet: number, capacity: number): number;
  /** Milliseconds until {@linkcode onTimeout} must be called, or -1 when no timer is armed. */
  timeoutMs(): number;
  onTimeout(): void;

  isEstablished(): boolean;
  isClosed(): boolean;
  isDraining(): boolean;
  isTimedOut(): boolean;
  /** The peer's ID that our packets carry now. */
  destinationId(): Uint8Array;
  /** The negotiated ALPN protocol, "" before the handshake. */
  applicationProtocol(): string;
  /** The name that a client asked for (SNI); "" when it asked for none. */
  serverName(): string;

  /** The next stream with something to read, or -1. A stream is named once, and again when more arrives or part of it was read. */
  streamReadableNext(): number;
  /** The next stream that {@linkcode streamWantWrite} armed and that now has capacity (or was stopped), or -1. */
  streamWritableNext(): number;
  /** Bytes that {@linkcode streamSend} would take now, or an error (`streamStopped`, `invalidStreamState`). */
  streamCapacity(stream: number): number;
  /** Asks to be named by {@linkcode streamWritableNext} when `length` bytes fit. Returns 1 if they fit now, 0, or an error. */
  streamWantWrite(stream: number, length: number): number;
  /** Reads up to `capacity` bytes. Returns the count or an error; {@linkcode Engine.streamFin} tells whether this was the end. */
  streamRecv(stream: number, offset: number, capacity: number): number;
  /** Writes bytes, and the end if `fin` and all were taken. Returns the count or an error. */
  streamSend(stream: number, offset: number, length: number, fin: boolean): number;
  /** Aborts one direction: "read" sends STOP_SENDING, "write" sends RESET_STREAM (RFC 9000 §19.4, §19.5). */
  streamShutdown(stream: number, direction: "read" | "write", code: number): number;
  streamFinished(stream: number): boolean;
  /** Bidirectional streams that we may still open. */
  streamsLeft(): number;

  /** Queues one DATAGRAM. Returns 0 or an error: `bufferTooShort` over {@linkcode datagramMax}, `done` when the queue is full. */
  datagramSend(offset: number, length: number): number;
  /** Takes one received DATAGRAM. Returns its length or `done`. */
  datagramRecv(offset: number, capacity: number): number;
  /** The largest DATAGRAM payload that can be sent now, or an error before the peer's parameters are known. */
  datagramMax(): number;
  /** DATAGRAMs that were queued and have not left. */
  datagramQueueLength(): number;
  /** Whether the send queue takes no more: what is sent now would be dropped. */
  isDatagramQueueFull(): boolean;

  /** Sends something that the peer must acknowledge (PING), to keep the path and the connection alive. */
  keepAlive(): void;
  /** Starts closing. `reason` is cut to 200 bytes. */
  close(isApplication: boolean, code: number, reason: string): void;
  peerError(): CloseInfo | null;
  localError(): CloseInfo | null;

  /** The peer's verified leaf certificate, or null (none presented, or not verified because verification is off). */
  peerCertificate(): CertificateSummary | null;
  /** What the verified peer presented beside its leaf: its authorities, perhaps others. Empty when the leaf is null or stands alone. */
  peerAuthorities(): readonly CertificateSummary[];
  /** Why the verification of the peer failed, with the names that it offered; "" if it did not. For error texts (D21). */
  verifyError(): { readonly reason: string; readonly offered: CertificateSummary | null } | null;
  /** TLS exporter (RFC 8446 §7.5) bound to this connection; null before the handshake ends. */
  exportKey(label: string, context: Uint8Array, length: number): Uint8Array | null;
  /** Names for people: the group and the cipher suite that were negotiated. */
  tlsDescription(): { readonly group: string; readonly cipher: string };

  /** Adds a source CID (RFC 9000 §5.1.1) with its reset token, retiring the oldest if the peer's limit is reached. */
  newSourceId(id: Uint8Array, resetToken: Uint8Array): number;
  /** Source CIDs that the peer still has room for without retiring one. */
  sourceIdsLeft(): number;
  /** Source CIDs that the peer retired since the last call. */
  retiredSourceIds(): readonly Uint8Array[];
  /** The next change of path, or null. `peer` is a copy of the sockaddr. */
  pathEvent():
    | { readonly kind: "new" | "validated" | "failed" | "closed" | "migrated" | "reused" | "mtu"; readonly peer: Uint8Array }
    | null;

  /** Copies the peer's address, as its packets come now, into a sockaddr slot. False when there is none yet. */
  peerAddress(slot: number): boolean;

  stats(): ConnectionStats;
  /** Releases the native state. The object must not be used afterwards. */
  free(): void;
}

/** Counters of one connection since it began, and the state of its path. */
export interface ConnectionStats {
  readonly packetsReceived: number;
  readonly packetsSent: number;
  readonly packetsLost: number;
  readonly bytesReceived: number;
  readonly bytesSent: number;
  /** Those that were dropped before they were read too. */
  readonly datagramsReceived: number;
  readonly rttMs: number;
  readonly congestionWindowBytes: number;
  readonly pathMtuBytes: number;
}

/** The certificates and keys of one end, as PEM text in memory. */
export interface TlsIdentity {
  readonly certificateChainPem: Uint8Array;
  readonly privateKeyPem: Uint8Array;
}

/** How the other end is verified. There is no default: who makes a profile decides. */
export type PeerVerification =
  | ({ readonly kind: "require" } & PeerTrust)
  | ({ readonly kind: "if-given" } & PeerTrust)
  | { readonly kind: "off" };

export interface PeerTrust {
  readonly trustPem: Uint8Array;
  /** With lists, an issuer without one is refused. */
  readonly crlPem: Uint8Array | null;
  /** Lists past their next update count all the same. */
  readonly toleratesStaleCrl?: boolean;
}

/** Everything that makes one engine profile; a profile serves any number of connections. */
export interface EngineProfileOptions {
  readonly side: "server" | "client";
  readonly identity: TlsIdentity | null;
  readonly verify: PeerVerification;
  /** In order of preference. */
  readonly protocols: readonly string[];
  readonly transport: TransportLimits;
}

/** QUIC transport parameters and queue lengths; the values are named in each role's `limits.ts`. */
export interface TransportLimits {
  readonly idleTimeoutMs: number;
  readonly udpPayloadRecvMaxBytes: number;
  readonly udpPayloadSendMaxBytes: number;
  /** Probe for larger packets up to `udpPayloadSendMaxBytes` (RFC 8899) rather than assume that they pass. */
  readonly discoverPathMtu: boolean;
  readonly connectionWindowBytes: number;
  readonly connectionWindowMaxBytes: number;
  readonly streamWindowBytes: number;
  readonly streamWindowMaxBytes: number;
  readonly streamsBidiMax: number;
  readonly datagramQueueMax: number;
  readonly activeConnectionIdLimit: number;
  readonly congestionControl: CongestionControl;
}

/** How a connection finds out what its path takes: by losses (RFC 9438), or by the rate and the time at which its packets arrive. */
export type CongestionControl = "cubic" | "bbr2";

/** A TLS and transport configuration inside the engine. Freeing it while its connections live is safe. */
export interface EngineProfile {
  free(): void;
}

/** What of the peer's name a client insists on. Null means that the name is not checked: only with verification off. */
export type ExpectedName = string | null;

export interface Engine {
  readonly arena: Arena;
  /** Offset of the sockaddr slot that {@linkcode EngineConnection.send} fills with the destination. */
  readonly sendTo: number;
  /** Offset of the sockaddr slot that it fills with the source. */
  readonly sendFrom: number;
  /** Whether the last {@linkcode EngineConnection.streamRecv} reached the end of the stream. */
  streamFin: boolean;
  /** The code of the last `streamReset` or `streamStopped` result. */
  readonly streamErrorCode: number;

  /** Throws {@linkcode import("../../base/mod.ts").PosternError} with the engine's words when the material does not fit together. */
  createProfile(options: EngineProfileOptions): EngineProfile;
  /**
   * The server's side of a new connection. `sourceId` is ours, with its reset token (RFC 9000 §10.3); `originalDestinationId`
   * is set when the Initial answers our Retry. Addresses are offsets of sockaddr slots.
   */
  accept(
    profile: EngineProfile,
    sourceId: Uint8Array,
    originalDestinationId: Uint8Array | null,
    resetToken: Uint8Array,
    localAddress: number,
    peerAddress: number,
  ): EngineConnection | null;
  connect(
    profile: EngineProfile,
    expected: ExpectedName,
    sourceId: Uint8Array,
    localAddress: number,
    peerAddress: number,
  ): EngineConnection | null;
  /** Writes a Retry (RFC 9000 §17.2.5) and returns its length. Both IDs are those of the Initial that it answers. */
  writeRetry(
    packet: number,
    capacity: number,
    destinationId: Uint8Array,
    sourceId: Uint8Array,
    newSourceId: Uint8Array,
    token: Uint8Array,
    version: number,
  ): number;
  /** Writes a Version Negotiation packet and returns its length. Both IDs are those of the packet that it answers. */
  writeVersionNegotiation(packet: number, capacity: number, destinationId: Uint8Array, sourceId: Uint8Array): number;
}
