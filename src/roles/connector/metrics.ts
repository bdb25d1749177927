/** The connector's counters and gauges. */
import { type MetricDefinition, type MetricTable, tlsMetrics } from "../../base/mod.ts";
import { NETSTACK_METRICS } from "../../core/netstack/mod.ts";
import { ignoredMetrics } from "../uplink/mod.ts";

/** Datagrams that went nowhere, by reason. */
function dropped(reason: string): MetricDefinition {
  return {
    name: "ztna_connector_datagrams_dropped_total",
    kind: "counter",
    help: "Datagrams that were not forwarded, by reason.",
    labels: { reason },
  };
}

function p2pAnswered(kind: string): MetricDefinition {
  return {
    name: "ztna_connector_p2p_control_answered_total",
    kind: "counter",
    help: "Packets outside of QUIC on the P2P port that were answered, by kind.",
    labels: { kind },
  };
}

function p2pDropped(reason: string): MetricDefinition {
  return {
    name: "ztna_connector_p2p_packets_dropped_total",
    kind: "counter",
    help: "Packets on the P2P port, or datagrams of direct connections, that were dropped, by reason.",
    labels: { reason },
  };
}

function p2pDetour(outcome: string): MetricDefinition {
  return {
    name: "ztna_connector_p2p_detour_packets_total",
    kind: "counter",
    help: "Packets of direct connections that went by the server because their own path did not carry, by what became of them.",
    labels: { outcome },
  };
}

function p2pClosed(reason: string): MetricDefinition {
  return {
    name: "ztna_connector_p2p_connections_closed_total",
    kind: "counter",
    help: "Direct connections that were closed because of what became of the agent's certificate, by reason.",
    labels: { reason },
  };
}

function signals(outcome: string): MetricDefinition {
  return {
    name: "ztna_connector_signals_total",
    kind: "counter",
    help: "Signalling messages from the server, by what became of them.",
    labels: { outcome },
  };
}

export const CONNECTOR_METRICS = {
  registered: { name: "ztna_connector_services_registered", kind: "gauge", help: "Services that the server has acknowledged." },
  uplinkUp: { name: "ztna_connector_uplink_up", kind: "gauge", help: "1 while the connection to the server stands." },
  reconnections: {
    name: "ztna_connector_reconnections_total",
    kind: "counter",
    help: "Connections to the server that were lost or failed.",
  },
  tcpSessions: { name: "ztna_connector_tcp_sessions_total", kind: "counter", help: "Connections opened to backends." },
  tcpErrors: {
    name: "ztna_connector_tcp_errors_total",
    kind: "counter",
    help: "Connections to backends that failed, were reset or timed out.",
  },
  uptimeSeconds: { name: "ztna_connector_uptime_seconds", kind: "gauge", help: "Seconds since the data plane began." },
  rotations: {
    name: "ztna_connector_connection_id_rotations_total",
    kind: "counter",
    help: "Connection IDs that were replaced by a new one, of connections to the server and of direct ones.",
  },
  activeStreams: { name: "ztna_connector_active_streams", kind: "gauge", help: "Streams that are joined to a backend now." },
  bytesToBackend: {
    name: "ztna_connector_stream_bytes_total",
    kind: "counter",
    help: "Bytes moved between streams and backends.",
    labels: { direction: "to_backend" },
  },
  bytesFromBackend: {
    name: "ztna_connector_stream_bytes_total",
    kind: "counter",
    help: "Bytes moved between streams and backends.",
    labels: { direction: "from_backend" },
  },
  refusedUnknown: {
    name: "ztna_connector_streams_refused_total",
    kind: "counter",
    help: "Opens that were answered with a refusal, by its code.",
    labels: { code: "unknown-service" },
  },
  refusedDenied: {
    name: "ztna_connector_streams_refused_total",
    kind: "counter",
    help: "Opens that were answered with a refusal, by its code.",
    labels: { code: "denied" },
  },
  refusedDatagramOnly: {
    name: "ztna_connector_streams_refused_total",
    kind: "counter",
    help: "Opens that were answered with a refusal, by its code.",
    labels: { code: "datagram-only" },
  },
  refusedBackend: {
    name: "ztna_connector_streams_refused_total",
    kind: "counter",
    help: "Opens that were answered with a refusal, by its code.",
    labels: { code: "backend-refused" },
  },
  refusedTimeout: {
    name: "ztna_connector_streams_refused_total",
    kind: "counter",
    help: "Opens that were answered with a refusal, by its code.",
    labels: { code: "backend-timeout" },
  },
  refusedBusy: {
    name: "ztna_connector_streams_refused_total",
    kind: "counter",
    help: "Opens that were answered with a refusal, by its code.",
    labels: { code: "busy" },
  },
  malformed: {
    name: "ztna_connector_streams_malformed_total",
    kind: "counter",
    help: "Streams aborted because their header was malformed or late.",
  },
  forwardedPackets: {
    name: "ztna_connector_forwarded_packets_total",
    kind: "counter",
    help: "IP packets taken from agents and given to them, acknowledgements and others without payload included.",
  },
  forwardedBytes: {
    name: "ztna_connector_forwarded_bytes_total",
    kind: "counter",
    help: "Payload bytes moved between packets and backends, both ways.",
  },
  packetSessions: {
    name: "ztna_connector_packet_sessions",
    kind: "gauge",
    help: "TCP sessions that agents began with packets, now.",
  },
  packetFlows: { name: "ztna_connector_packet_flows", kind: "gauge", help: "UDP flows that agents began with packets, now." },
  bufferedBytes: { name: "ztna_connector_buffered_bytes", kind: "gauge", help: "Memory of the buffers of all TCP sessions." },
  droppedKind: dropped("kind"),
  droppedMalformed: dropped("malformed"),
  droppedUnknownService: dropped("unknown-service"),
  droppedUnauthorised: dropped("unauthorised"),
  droppedNoWayBack: dropped("no-way-back"),
  droppedQueue: dropped("queue-full"),
  droppedReceive: dropped("receive-queue"),
  droppedTooLarge: dropped("too-large"),
  droppedPeerGone: dropped("peer-gone"),
  droppedBackend: dropped("backend"),
  ...tlsMetrics("p2p"),
  p2pConnections: { name: "ztna_connector_p2p_connections", kind: "gauge", help: "Agents that are connected directly now." },
  p2pAccepted: {
    name: "ztna_connector_p2p_connections_total",
    kind: "counter",
    help: "Direct connections of agents that were let in.",
  },
  p2pRefused: {
    name: "ztna_connector_p2p_connections_refused_total",
    kind: "counter",
    help: "Direct connections that were not let in: no certificate, a wrong one, or one that names no service here.",
  },
  p2pClosedExpired: p2pClosed("expired"),
  p2pClosedRevoked: p2pClosed("revoked"),
  p2pDetourSent: p2pDetour("sent"),
  p2pDetourReceived: p2pDetour("received"),
  p2pDetourDropped: p2pDetour("dropped"),
  p2pPunched: {
    name: "ztna_connector_p2p_punched_total",
    kind: "counter",
    help: "Checks of an agent's addresses from our side that were answered.",
  },
  p2pKeepalives: p2pAnswered("keepalive"),
  p2pBindings: p2pAnswered("binding"),
  p2pDroppedMalformed: p2pDropped("malformed"),
  p2pDroppedUnknown: p2pDropped("unknown"),
  p2pDroppedLimit: p2pDropped("limit"),
  p2pDroppedControl: p2pDropped("control"),
  signalsAnswered: signals("answered"),
  signalsRefused: signals("refused"),
  ...ignoredMetrics("ztna_connector"),
  signalsMalformed: signals("malformed"),
  ...NETSTACK_METRICS,
} as const satisfies MetricTable;

export type ConnectorMetric = keyof typeof CONNECTOR_METRICS;
