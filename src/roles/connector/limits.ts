/** The bounds of a connector. */
import { NETSTACK_LIMITS, type NetStackLimits } from "../../core/netstack/mod.ts";
import { type Rate, RATE_LIMITS, type RateLimits } from "../../core/ratelimit/mod.ts";
import type { PacketTimesPlan } from "../control/mod.ts";

/** From the start of a connect to the backend until its answer: then the open is answered `backend-timeout`, a SYN with RST. */
export const BACKEND_CONNECT_TIMEOUT_MS = 5_000;
/** Of that time, what each of several addresses gets at least. */
export const BACKEND_TRY_MIN_MS = 1_000;
/** Streams in all; more are answered `busy`. */
export const STREAMS_MAX = 1_024;
/** Of these, streams of one agent that is connected directly, over all of its connections. */
export const P2P_STREAMS_PER_AGENT_MAX = 256;
/** Lines about streams that were refused or failed. */
export const STREAM_WARNING_RATE: Rate = { perSecond: 5, burst: 50 };
/** Data plane memory: one UDP socket per address family, the engine, and one chunk each for bridges, sessions and packets. */
export const CONNECTOR_ARENA_BYTES = 8 * 1024 * 1024;

/** Datagrams that one flow reads from its backend before the others have their turn. */
export const FLOW_TURN_DATAGRAMS = 64;
export const UDP_PAYLOAD_MAX_BYTES = 65_507;
/** The largest DATAGRAM that the agents of earlier ztna-v1 peers can send (WIRE 3.3): no packet of theirs may be larger. */
export const AGENT_DATAGRAM_MAX_BYTES = 1_156;
/** Warnings about refused packets in one second. */
export const WARNINGS_PER_SECOND = 5;

/** How long what runs of a service that was taken out of the configuration may go on. */
export const SERVICE_DRAIN_MS = 30_000;
/** What is waiting to be idle is looked at this often. */
export const LINK_LOOK_INTERVAL_MS = 250;

/** Direct connections of agents, in all and of one address (a /64 of IPv6), and what each may send. */
export const P2P_RATE_LIMITS: RateLimits = {
  ...RATE_LIMITS,
  connections: { source: 32, all: 256 },
  handshakes: { source: { perSecond: 5, burst: 10 }, all: { perSecond: 100, burst: 200 } },
  sourcesMax: 4_096,
};
export const P2P_HANDSHAKE_MS = 10_000;
/** What is answered on the P2P socket in one second without any state. */
export const P2P_RETRIES_PER_SECOND_MAX = 1_000;
export const P2P_RESETS_PER_SECOND_MAX = 100;
export const P2P_ANSWER_RATE: Rate = { perSecond: 500, burst: 500 };
/** Direct connections that come by the server for the time being, and how long the place of one that is silent is kept. */
export const DETOURS_MAX = 64;
export const DETOUR_IDLE_MS = 30_000;
/** Signalling sessions at one time; each sends to up to 32 addresses. */
export const PUNCHINGS_MAX = 64;

/** Backends are looked at this often, and more often while they are down. */
export const HEALTH_INTERVAL_MS = 10_000;
export const HEALTH_INTERVAL_DOWN_MS = 2_000;
export const HEALTH_TIMEOUT_MS = 3_000;
/** New UDP flows leave a backend that refused a datagram for the next one so long. */
export const UDP_REFUSED_MS = 10_000;
/** Failed looks in a row after which a backend is down. */
export const HEALTH_FAILURES_MAX = 3;
/** Names of backends are looked up again this often. */
export const RESOLVE_INTERVAL_MS = 30_000;
/** And so soon again when a backend fails. */
export const RESOLVE_FAILED_INTERVAL_MS = 5_000;
/** Of the answer to an HTTP look so much is read to find its status. */
export const HEALTH_ANSWER_MAX_BYTES = 1_024;

/** Between the network stack's own end of waiting for a backend and ours, so that it is ours that comes first. */
const PENDING_SLACK_MS = 500;

/** What the network stack is told; null: its own times. */
export function stackLimits(times: PacketTimesPlan | null): Partial<NetStackLimits> {
  const pendingMs = BACKEND_CONNECT_TIMEOUT_MS + PENDING_SLACK_MS;
  if (times === null) return { pendingMs };
  return {
    pendingMs,
    idleMs: times.tcpIdleMs,
    drainMs: times.tcpDrainMs,
    keepaliveMs: times.tcpKeepaliveMs,
    keepaliveIntervalMs: Math.min(NETSTACK_LIMITS.keepaliveIntervalMs, times.tcpKeepaliveMs),
    udpFlowIdleMs: times.udpIdleMs,
  };
}
