/** The agent's counters and gauges. */
import type { MetricTable } from "../../base/mod.ts";
import { ignoredMetrics } from "../uplink/mod.ts";

const refused = (code: string) => ({
  name: "ztna_agent_connections_refused_total",
  kind: "counter" as const,
  help: "Local connections that were reset before they were joined, by reason.",
  labels: { code },
});
const moved = (direction: string) => ({
  name: "ztna_agent_stream_bytes_total",
  kind: "counter" as const,
  help: "Bytes moved between local connections and streams.",
  labels: { direction },
});
const dropped = (reason: string) => ({
  name: "ztna_agent_datagrams_dropped_total",
  kind: "counter" as const,
  help: "Datagrams that were dropped, by reason.",
  labels: { reason },
});
const packets = (direction: string) => ({
  name: "ztna_agent_packets_total",
  kind: "counter" as const,
  help: "Packets exchanged with services in datagrams.",
  labels: { direction },
});
const datagramBytes = (direction: string) => ({
  name: "ztna_agent_datagram_bytes_total",
  kind: "counter" as const,
  help: "Payload bytes of UDP datagrams moved between local clients and services.",
  labels: { direction },
});

const detoured = (outcome: string) => ({
  name: "ztna_agent_direct_detour_packets_total",
  kind: "counter" as const,
  help: "Packets of direct connections that went by the server because their own path did not carry, by what became of them.",
  labels: { outcome },
});

const streams = (route: string) => ({
  name: "ztna_agent_streams_total",
  kind: "counter" as const,
  help: "Streams that were opened, by the way they took: to the server, or to a connector itself.",
  labels: { route },
});

export const AGENT_METRICS = {
  uplinkUp: { name: "ztna_agent_uplink_up", kind: "gauge", help: "1 while the connection to the server stands." },
  reconnections: { name: "ztna_agent_reconnections_total", kind: "counter", help: "Connections to the server that were lost." },
  connections: { name: "ztna_agent_connections_total", kind: "counter", help: "Local connections accepted." },
  activeConnections: { name: "ztna_agent_active_connections", kind: "gauge", help: "Local connections that are open now." },
  bytesSent: moved("to_service"),
  bytesReceived: moved("from_service"),
  denied: refused("denied"),
  unknownService: refused("unknown-service"),
  noConnector: refused("no-connector"),
  datagramOnly: refused("datagram-only"),
  backendRefused: refused("backend-refused"),
  backendTimeout: refused("backend-timeout"),
  busy: refused("busy"),
  noUplink: refused("no-uplink"),
  noAnswer: refused("no-answer"),
  tooMany: refused("too-many"),
  streamsRelayed: streams("relay"),
  streamsDirect: streams("direct"),
  streamsRetreated: {
    name: "ztna_agent_direct_retreats_total",
    kind: "counter",
    help: "Streams that left a direct path before anything had gone there, and went by the server.",
  },
  directConnections: {
    name: "ztna_agent_direct_connections",
    kind: "gauge",
    help: "Direct connections to connectors that stand now.",
  },
  directAttempts: { name: "ztna_agent_direct_attempts_total", kind: "counter", help: "Direct paths that were looked for." },
  directFailures: { name: "ztna_agent_direct_failures_total", kind: "counter", help: "Direct paths that came to nothing." },
  directFallbacks: {
    name: "ztna_agent_direct_fallbacks_total",
    kind: "counter",
    help: "Times that a direct path did not answer, so that new streams went by the server.",
  },
  directDetours: {
    name: "ztna_agent_direct_detours_total",
    kind: "counter",
    help: "Times that a direct path was lost, so that what ran on it went by the server.",
  },
  directReturns: {
    name: "ztna_agent_direct_returns_total",
    kind: "counter",
    help: "Times that what went by the server for a while took its direct path again.",
  },
  directDetourSent: detoured("sent"),
  directDetourReceived: detoured("received"),
  directDetourDropped: detoured("dropped"),
  directBindings: {
    name: "ztna_agent_direct_bindings_answered_total",
    kind: "counter",
    help: "Binding requests of others that were answered while a direct path was looked for.",
  },
  directDropped: {
    name: "ztna_agent_direct_control_dropped_total",
    kind: "counter",
    help: "Packets outside of QUIC that were not wanted, or came too often.",
  },
  proxyClients: { name: "ztna_agent_proxy_clients_total", kind: "counter", help: "Clients that the proxy accepted." },
  proxyForeign: refused("foreign"),
  proxyMalformed: refused("malformed"),
  udpFlows: { name: "ztna_agent_udp_flows_total", kind: "counter", help: "UDP flows that local clients began." },
  activeUdpFlows: { name: "ztna_agent_active_udp_flows", kind: "gauge", help: "UDP flows that are open now." },
  datagramBytesSent: datagramBytes("to_service"),
  datagramBytesReceived: datagramBytes("from_service"),
  packetsSent: packets("to_service"),
  packetsReceived: packets("from_service"),
  packetsDirect: {
    name: "ztna_agent_direct_packets_total",
    kind: "counter",
    help: "Of the packets to services, those that went to a connector itself.",
  },
  droppedUnserved: dropped("unserved"),
  droppedTooLarge: dropped("too-large"),
  droppedNoUplink: dropped("no-uplink"),
  droppedDenied: dropped("denied"),
  droppedQueue: dropped("queue"),
  droppedReceive: dropped("receive-queue"),
  droppedWaiting: dropped("waiting"),
  droppedTooManyFlows: dropped("too-many-flows"),
  droppedLocal: dropped("local"),
  droppedForeign: dropped("foreign"),
  droppedDevice: dropped("device"),
  ...ignoredMetrics("ztna_agent"),
} as const satisfies MetricTable;

export type AgentMetric = keyof typeof AGENT_METRICS;
