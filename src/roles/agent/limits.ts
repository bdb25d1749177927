/** The bounds of an agent. */
import type { Rate } from "../../core/ratelimit/mod.ts";
import type { UdpSocketLimits } from "../../io/mod.ts";

/** A local connection waits this long for the server to be reached. */
export const UPLINK_WAIT_MS = 5_000;
/** And so long where it is the only one, for which the agent was started. */
export const ONLY_UPLINK_WAIT_MS = 15_000;
/** So long it is believed that a service's connectors know no streams. */
export const DATAGRAM_ONLY_MS = 60_000;
/** Services of which it is remembered what the last open was answered; the one that was first answered goes. */
export const ANSWERS_MAX = 256;
/** Local connections in all; more are reset. */
export const CONNECTIONS_MAX = 1_024;
/** From OPEN to RESULT. Longer than the connector's own time for its backend. */
export const RESULT_TIMEOUT_MS = 15_000;
/** Only what is used becomes memory. Most of it is for local UDP sockets. */
export const AGENT_ARENA_BYTES = 40 * 1024 * 1024;

/** Services that one agent speaks of; a server takes no more registrations of one connection (WIRE 9). */
export const SERVICES_MAX = 64;
/** UDP flows of all local clients together; more are refused until one has been idle. */
export const UDP_FLOWS_MAX = 4_096;
/** Packets of one service that wait for the answer to its registration; the oldest goes. */
export const WAITING_PACKETS_MAX = 64;
/** The largest packet with its ROUTED header, as large as a DATAGRAM can be. */
export const PACKET_MAX_BYTES = 65_536;
/** What a DATAGRAM carries before the connection has said it: what fits everywhere (WIRE 3.3). */
export const PACKET_FIRST_BYTES = 1_156;
/** A path is made for packets of at least this size. */
export const PACKET_MIN_BYTES = 128;
/** The part of the arena of one local UDP socket, of which there are as many as the configuration names. */
export const LOCAL_UDP_SOCKET: UdpSocketLimits = {
  receiveSlots: 4,
  receiveBatchesPerTurn: 16,
  sendTrains: 64,
  sendBufferBytes: 128 * 1024,
  kernelBufferBytes: 1024 * 1024,
};

/** Clients of the proxy that are not joined to a service; more are reset. */
export const PROXY_CLIENTS_MAX = 1_024;
/** From a client's connection to the last byte of its request. */
export const PROXY_REQUEST_MS = 10_000;
/** How long a client that was refused may take to read that, and what is thrown away of what it still says. */
export const PROXY_LEAVING_MS = 2_000;
export const LEAVING_BYTES_MAX = 1024 * 1024;
/** Clients that send datagrams through the proxy, and the flows of each. */
export const ASSOCIATIONS_MAX = 256;
export const ASSOCIATION_FLOWS_MAX = 64;

/** Direct paths (WIRE 6). The server lets a session live as long as this. */
export const OFFER_MS = 5_000;
/** Sessions at one time; a server takes no more of one agent. */
export const OFFERS_MAX = 8;
/** Candidates of ours. */
export const CANDIDATES_OWN_MAX = 16;
/** Binding requests that are answered in one second, while we look for somebody. */
export const BINDING_ANSWER_RATE: Rate = { perSecond: 100, burst: 100 };
/** From the first packet to the connector's first word. */
export const DIRECT_DIAL_MS = 10_000;
/** After an attempt that failed the service goes by the server for a while. */
export const DIRECT_BACKOFF = { firstMs: 30_000, maxMs: 600_000 } as const;
/** A direct connection that goes by the server says something this often, */
export const DETOUR_LOOK_MS = 1_000;
/** tries it by another flow after so much silence, */
export const DETOUR_SILENCE_MS = 3_000;
/** and looks this often whether its own path carries again. */
export const DETOUR_RETRY_MS = 30_000;
/** A direct connection on which a packet moved so lately is in use: as long as a flow of UDP lives without any. */
export const DIRECT_PACKETS_IDLE_MS = 60_000;
/** A direct connection that nobody used for so long is closed. */
export const DIRECT_IDLE_MS = 300_000;
