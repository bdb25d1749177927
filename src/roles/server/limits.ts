/**
 * The bounds of the server. The times and sizes that WIRE fixes stand in `core/wire`; what is here we chose.
 */
import { type EndpointLimits, ROTATION_DEFAULTS, type RotationOptions, type TransportLimits } from "../../core/quic/mod.ts";
import type { Rate } from "../../core/ratelimit/mod.ts";
import type { FairQueueLimits } from "../../core/sched/mod.ts";
import type { UdpSocketLimits } from "../../io/mod.ts";
import type { DepartureLimits } from "../control/mod.ts";
import { IDLE_TIMEOUT_MS } from "../../core/wire/mod.ts";

/** Memory of the data plane: sockets, the engine, one chunk for all streams. */
export const SERVER_ARENA_BYTES = 160 * 1024 * 1024;
/** UDP sockets, one for each address to bind. */
export const BINDS_MAX = 8;
/** Bytes moved in one direction of one stream before the others have their turn, and at once. */
export const STREAM_TURN_BYTES = 256 * 1024;
export const STREAM_CHUNK_BYTES = 64 * 1024;
/** Answers to packets that are not relayed, on one connection. */
export const REJECTIONS_PER_PEER: Rate = { perSecond: 50, burst: 200 };
/** Streams that their agent's limits hold back are looked at this often. */
export const STREAM_PACE_MS = 20;
/** From our OPEN to the connector's RESULT. Longer than a connector's own time for its backend. */
export const RESULT_TIMEOUT_MS = 10_000;
/** How long open streams may finish after a request to stop. */
export const DRAIN_MS = 3_000;
/** Flow table slots that are looked at for a dead flow, each time the sweep comes round: all of them within four seconds. */
export const FLOW_SWEEP_SLOTS = 16_384;
export const FLOW_SWEEP_INTERVAL_MS = 250;
/** While there are no flows. */
export const FLOW_SWEEP_IDLE_MS = 2_000;
/** In front of a packet there is room for the longest ROUTED header. */
export const ROUTED_HEADROOM_BYTES = 320;
/** Signalling that waits for one peer, and what is read of a signalling stream at once. */
export const SIGNAL_QUEUE_BYTES_MAX = 128 * 1024;
export const SIGNAL_TURN_BYTES = 16 * 1024;
/** Streams of signalling that one registered peer may have open; before its registration it may have one. */
export const SIGNAL_STREAMS_PER_PEER_MAX = 4;
/** Bytes of half messages that are held: of all peers, and of one that is not registered. */
export const SIGNAL_HELD_BYTES_MAX = 4 * 1024 * 1024;
export const SIGNAL_HELD_UNREGISTERED_BYTES_MAX = 4 * 1024;
/** After so many malformed messages a stream is aborted. */
export const SIGNAL_MALFORMED_PER_STREAM_MAX = 16;
/** So many malformed messages with no good one between them end the connection. */
export const SIGNAL_MALFORMED_PER_PEER_MAX = 64;
/** A connector that was replaced is looked at this often, asked for a sign of life this often, and gone after this silence. */
export const REPLACED_LOOK_MS = 100;
export const REPLACED_ASK_MS = 1_000;
export const REPLACED_SILENCE_MS = 5_000;
/** From the refusal of a registration token to the close of its connection. */
export const REFUSAL_LINGER_MS = 100;
/** What datagrams and bytes of streams leave free of a ring between two workers, for what must arrive. */
export const LINK_DATAGRAM_SPARE_BYTES = 4 * 1024 * 1024;
export const LINK_STREAM_SPARE_BYTES = 2 * 1024 * 1024;
/** Records that are taken from a ring before the sockets have their turn. */
export const LINK_RECORDS_PER_TURN = 4_096;
/** Bytes of one stream, and of all streams of one connection, that are on their way to another worker, each way. */
export const LINK_STREAM_BYTES_MAX = 256 * 1024;
export const LINK_CONNECTION_BYTES_MAX = 8 * 1024 * 1024;
/** Clients that a worker remembers, for a moment, to have asked worker 0 about. */
export const LINK_ASKED_MAX = 1_024;
/** What must arrive and waits for room in a ring. Flow control and the ring's spare part keep it far below: more is a defect. */
export const LINK_WAITING_BYTES_MAX = 256 * 1024 * 1024;
/** What another worker knows of a connection's counters is no older, while something comes from its peer. */
export const LINK_FACTS_MS = 1_000;
/** Counters and gauges are published this often. */
export const PUBLISH_INTERVAL_MS = 100;
/** A handshake must have ended by then. */
export const HANDSHAKE_MS = 10_000;
/** What is answered to strangers in one second. */
export const RETRIES_PER_SECOND_MAX = 20_000;
export const RESETS_PER_SECOND_MAX = 1_000;

export const SERVER_TRANSPORT: TransportLimits = {
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

export const SERVER_ENDPOINT: EndpointLimits = {
  // Beyond any limit that an operator sets: those are the limiter's.
  connectionsMax: 1_000_000,
  handshakesMax: 4_096,
  packetBytesMax: SERVER_TRANSPORT.udpPayloadSendMaxBytes,
  datagramBytesMax: 65_536,
  datagramsPerTurn: 128,
  bytesPerTurn: 1024 * 1024,
};

export const SERVER_SOCKET: UdpSocketLimits = {
  receiveSlots: 32,
  receiveBatchesPerTurn: 16,
  sendTrains: 64,
  sendBufferBytes: 1024 * 1024,
  kernelBufferBytes: 8 * 1024 * 1024,
};

/** What was read and waits for its turn, of each socket, and what is handed on in one turn. */
export const ARRIVALS = { trains: 128, singles: 2_048, turnBytes: 256 * 1024 };

/** What waits for such connections, in whole and of one sender. A round gives each sender little more than the largest usual packet. */
export const FAIR_QUEUES: FairQueueLimits = {
  blocks: 16_384,
  blockBytes: 1_536,
  senderPacketsMax: 4_096,
  quantumBytes: 2_048,
};
export const DEPARTURES: DepartureLimits = {
  atOnce: 64,
  ahead: 16,
  bytesMax: SERVER_TRANSPORT.udpPayloadSendMaxBytes,
  queues: FAIR_QUEUES,
};

/** How many IDs a connection may have; how often a new one comes is the operator's. */
export const ROTATION: RotationOptions = ROTATION_DEFAULTS;
