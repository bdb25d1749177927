/** What an {@linkcode import("./endpoint.ts").Endpoint} is made of and bound by, and what it counts. */
import type { Timer } from "../../base/mod.ts";
import type { RotationOptions } from "./cid_rotation.ts";
import type { Connection, Ending } from "./connection.ts";
import type { Engine } from "./engine.ts";
import type { ResetHmac } from "./reset_token.ts";
import type { Steering } from "./steering.ts";
import type { RetryTokenProblem, RetryTokens } from "./retry_token.ts";

/** What the role does with its connections. Offsets are valid during the call. */
export interface EndpointHandler {
  onEstablished(connection: Connection, nowMs: number): void;
  onDatagram(connection: Connection, offset: number, length: number, nowMs: number): void;
  onReadable(connection: Connection, stream: number, nowMs: number): void;
  onWritable(connection: Connection, stream: number, nowMs: number): void;
  /** The peer's address has changed, and it was seen to receive at the new one (RFC 9000 §9). */
  onMigrated?(connection: Connection, nowMs: number): void;
  /** Something came from the peer, or a timer fired, and everything else was told. */
  onHeard?(connection: Connection, nowMs: number): void;
  /** Called once, also for connections that were never established. The engine's state is still readable. */
  onClosed(connection: Connection, ending: Ending, nowMs: number): void;
}

/** Where deadlines are kept, and the time of this turn; the reactor is one. */
export interface TimerService {
  readonly nowMs: number;
  setTimer(timer: Timer, deadlineMs: number): void;
  cancelTimer(timer: Timer): void;
  /** Asks for another turn at once. */
  again(): void;
}

export interface EndpointLimits {
  readonly connectionsMax: number;
  /** Connections whose handshake has not ended. */
  readonly handshakesMax: number;
  readonly packetBytesMax: number;
  readonly datagramBytesMax: number;
  /** Datagrams of one connection that are handed over before the others have their turn. */
  readonly datagramsPerTurn: number;
  /** Bytes that one connection sends in a turn; within it, all that have something to send take turns. */
  readonly bytesPerTurn: number;
}

/** Who may connect, asked before anything is kept of a client. Addresses are sockaddr slots. */
export interface AcceptPolicy {
  /** The client's address and port in a form that all servers with the same token keys use. At most 255 bytes. */
  addressOf(slot: number): Uint8Array;
  /** Whether one more connection may come from there; `later`: who knows is being asked, and the packet comes again with the answer. */
  admit(slot: number, nowMs: number): boolean | "later";
  /** The connection that was just admitted; null when it came to nothing. Its end comes by {@linkcode EndpointHandler.onClosed}. */
  onAccepted(connection: Connection | null): void;
  onTokenRefused(why: RetryTokenProblem, slot: number, nowMs: number): void;
}

/** How an endpoint takes connections in. */
export interface AcceptOptions {
  readonly policy: AcceptPolicy;
  /** Null: clients need not show first that they receive at their address (RFC 9000 §8.1.2). */
  readonly retry: RetryTokens | null;
  /** Milliseconds since the epoch: tokens outlive the process. */
  readonly epochMs: () => number;
  /** A handshake that has not ended by then is given up. */
  readonly handshakeMs: number;
  /** What is answered in one second without any state: Retry packets, stateless resets. */
  readonly retriesPerSecondMax: number;
  readonly resetsPerSecondMax: number;
}

export interface EndpointOptions {
  readonly engine: Engine;
  readonly timers: TimerService;
  readonly entropy: (bytes: Uint8Array) => void;
  readonly handler: EndpointHandler;
  readonly limits: EndpointLimits;
  /** Offset of `datagramBytesMax` bytes for received datagrams. */
  readonly datagramAt: number;
  readonly rotation?: RotationOptions;
  /** For stateless resets: with it the endpoint sends them. */
  readonly resetHmac?: ResetHmac;
  /** Absent: it takes in whoever comes, as a client's endpoint never does. */
  readonly accepting?: AcceptOptions;
  /** With others behind the same address. Its connections have numbers that no other's have. */
  readonly steering?: Steering;
}

/** Why a packet went nowhere, and what was done without a connection. The role maps these to its counters. */
export interface EndpointCounters {
  malformed: number;
  /** Of another QUIC version, and not answered. */
  otherVersion: number;
  unknownConnection: number;
  /** To an ID of another worker: given to it, and lost on the way. */
  handedOver: number;
  foreignId: number;
  shortInitial: number;
  overConnectionLimit: number;
  overHandshakeLimit: number;
  /** Refused by the {@linkcode AcceptPolicy}. */
  overPolicy: number;
  undecryptable: number;
  /** Datagrams that the engine had received and dropped again, the oldest first, because nobody had read them. */
  datagramsOverflowed: number;
  /** Late packets with an ID that the peer has retired. */
  retiredId: number;
  versionNegotiations: number;
  retries: number;
  overRetryLimit: number;
  tokensValidated: number;
  tokensRefused: number;
  resets: number;
  handshakeTimeouts: number;
  migrations: number;
  accepted: number;
}

export function zeroEndpointCounters(): EndpointCounters {
  return {
    malformed: 0,
    otherVersion: 0,
    unknownConnection: 0,
    handedOver: 0,
    foreignId: 0,
    shortInitial: 0,
    overConnectionLimit: 0,
    overHandshakeLimit: 0,
    overPolicy: 0,
    undecryptable: 0,
    datagramsOverflowed: 0,
    retiredId: 0,
    versionNegotiations: 0,
    retries: 0,
    overRetryLimit: 0,
    tokensValidated: 0,
    tokensRefused: 0,
    resets: 0,
    handshakeTimeouts: 0,
    migrations: 0,
    accepted: 0,
  };
}
