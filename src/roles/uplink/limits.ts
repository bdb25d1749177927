/**
 * The bounds of a client's connection to its server, and what both clients use of QUIC. The times that WIRE fixes stand in
 * `core/wire`; what is here we chose.
 */
import type { EndpointLimits, TransportLimits } from "../../core/quic/mod.ts";
import type { UdpSocketLimits } from "../../io/mod.ts";
import { IDLE_TIMEOUT_MS } from "../../core/wire/mod.ts";
import type { DepartureLimits } from "../control/mod.ts";

/** The first dial after a loss comes soon, later ones ever later. */
export const RECONNECT_BACKOFF = { firstMs: 500, maxMs: 30_000 } as const;
/** A registration that was refused because of who we are is tried again, but seldom. */
export const DENIED_BACKOFF = { firstMs: 5_000, maxMs: 300_000 } as const;
/** One that nobody answered, or that came too often or while another held the service. */
export const UNANSWERED_BACKOFF = { firstMs: 2_000, maxMs: 30_000 } as const;
/** From the first packet to the server's first answer after the handshake. */
export const DIAL_TIMEOUT_MS = 10_000;
/** The same while another server is there that has not failed. */
export const FAILOVER_DIAL_TIMEOUT_MS = 4_000;
/** Clients of a server that went away come to the next one within this time, each at its own moment. */
export const FAILOVER_SPREAD_MS = 500;
/** So long a server that failed stays behind those that did not. */
export const FAILURE_MEMORY_MS = 300_000;
/** From one address of a server to the next, while nothing is heard (RFC 8305 §5, Connection Attempt Delay). */
export const NEXT_ADDRESS_MS = 250;
/** Addresses that one dial tries. */
export const DIAL_ADDRESSES_MAX = 6;
/** After the last that the server sent, we say something: an address that changed meanwhile is noticed so. */
export const SILENCE_MS = 1_000;
/** While the server does not answer that either, it is asked this often whether it still knows the connection. */
export const KNOCK_MS = 1_000;
/** After a change of the network: how often the server is asked, and when a connection that hears no answer is given up. */
export const PROBE_LOOK_MS = 500;
export const PROBE_DEADLINE_MS = 6_000;
/** A dial that began longer ago than this when the network changed begins anew. */
export const DIAL_ANEW_MS = 2_000;
/** How often the clocks are compared, and from when on a difference is sleep. */
export const WAKE_LOOK_MS = 2_000;
export const SLEEP_MS = 5_000;
/** How long open streams may finish after a request to stop. */
export const DRAIN_MS = 3_000;

export const UPLINK_TRANSPORT: TransportLimits = {
  idleTimeoutMs: IDLE_TIMEOUT_MS,
  udpPayloadRecvMaxBytes: 65_527,
  udpPayloadSendMaxBytes: 8_952,
  discoverPathMtu: true,
  connectionWindowBytes: 64 * 1024 * 1024,
  connectionWindowMaxBytes: 128 * 1024 * 1024,
  // Slow streams keep the first window: 64 MiB hold 256 of them, so that they cannot starve a fast one.
  streamWindowBytes: 256 * 1024,
  streamWindowMaxBytes: 4 * 1024 * 1024,
  streamsBidiMax: 1_024,
  datagramQueueMax: 4_096,
  activeConnectionIdLimit: 4,
  congestionControl: "cubic",
};

export const UPLINK_ENDPOINT: EndpointLimits = {
  // One for each service towards a server of ztna-v1, and the direct ones of agents.
  connectionsMax: 320,
  handshakesMax: 128,
  packetBytesMax: UPLINK_TRANSPORT.udpPayloadSendMaxBytes,
  datagramBytesMax: 65_536,
  datagramsPerTurn: 1_024,
  bytesPerTurn: 1024 * 1024,
};

export const UPLINK_SOCKET: UdpSocketLimits = {
  receiveSlots: 16,
  receiveBatchesPerTurn: 4,
  sendTrains: 32,
  sendBufferBytes: 1024 * 1024,
  kernelBufferBytes: 8 * 1024 * 1024,
};

/** Signalling bytes that wait to leave on one connection, and that are read at once. */
export const SIGNAL_QUEUE_BYTES_MAX = 64 * 1024;
export const SIGNAL_TURN_BYTES = 16 * 1024;

/** Losses are told again after so long without any. */
export const QUEUE_WARNING_MS = 60_000;
/** What waits for connections that cannot send what they are given: as many packets as the operator lets wait. */
export function departureLimits(packetQueueMax: number): DepartureLimits {
  return {
    atOnce: 64,
    ahead: 16,
    bytesMax: UPLINK_TRANSPORT.udpPayloadSendMaxBytes,
    queues: { blocks: packetQueueMax, blockBytes: 1_536, senderPacketsMax: packetQueueMax, quantumBytes: 2_048 },
  };
}
/** So many packets of a sender that can be held back wait for a connection, before it is. */
export const HELD_BACK_FROM = 256;

/** Packets that leave in one turn before others have theirs. */
export const PACKETS_PER_TURN = 1_024;
/** Packets that are queued before the connection is asked to send: its queue stays short, and losses are seen soon. */
export const PACKETS_PER_FLUSH = 64;
