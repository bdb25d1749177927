/** The server's counters and gauges. Names that earlier servers expose are kept. */
import type { MetricTable } from "../../base/mod.ts";

const refused = (code: string) => ({
  name: "ztna_streams_refused_total",
  kind: "counter" as const,
  help: "Opens that were answered with a refusal, by its code.",
  labels: { code },
});
const moved = (direction: string) => ({
  name: "ztna_stream_bytes_total",
  kind: "counter" as const,
  help: "Bytes relayed on streams.",
  labels: { direction },
});
const dropped = (reason: string) => ({
  name: "ztna_datagrams_dropped_total",
  kind: "counter" as const,
  help: "Datagrams that were not relayed, by reason.",
  labels: { reason },
});
const ignored = (reason: string) => ({
  name: "ztna_packets_ignored_total",
  kind: "counter" as const,
  help: "UDP payloads that belong to no connection, by reason.",
  labels: { reason },
});

export const SERVER_METRICS = {
  activeConnections: { name: "ztna_active_connections", kind: "gauge", help: "QUIC connections, handshaking ones included." },
  accepted: { name: "ztna_connections_accepted_total", kind: "counter", help: "Connections that began a handshake." },
  established: { name: "ztna_connections_established_total", kind: "counter", help: "Connections whose peer was identified." },
  refusedConnections: {
    name: "ztna_connections_refused_total",
    kind: "counter",
    help: "Handshakes that failed or whose peer was refused.",
  },
  registrations: { name: "ztna_registrations_total", kind: "counter", help: "Registrations that were acknowledged." },
  rejections: {
    name: "ztna_registration_rejections_total",
    kind: "counter",
    help: "Registrations that were answered with a NACK.",
  },
  relayedDatagrams: {
    name: "ztna_datagrams_relayed_total",
    kind: "counter",
    help: "Datagrams relayed between agents and connectors.",
  },
  relayedBytes: { name: "ztna_relay_bytes_total", kind: "counter", help: "Bytes of relayed datagrams as forwarded." },
  flows: { name: "ztna_flows", kind: "gauge", help: "Flows that answers are matched with." },
  droppedMalformed: dropped("malformed"),
  droppedUnauthorised: dropped("not-registered"),
  droppedUnknownFlow: dropped("unknown-flow"),
  droppedNoConnector: dropped("no-connector"),
  droppedFlowLimit: dropped("flow-limit"),
  droppedTooLarge: dropped("too-large"),
  droppedQueue: dropped("queue-full"),
  activeStreams: { name: "ztna_active_streams", kind: "gauge", help: "Streams that are open now, joined or not." },
  openedStreams: { name: "ztna_streams_opened_total", kind: "counter", help: "Streams that were joined with a connector." },
  bytesUp: moved("to_connector"),
  bytesDown: moved("to_agent"),
  denied: refused("denied"),
  unknownService: refused("unknown-service"),
  noConnector: refused("no-connector"),
  datagramOnly: refused("datagram-only"),
  backendRefused: refused("backend-refused"),
  backendTimeout: refused("backend-timeout"),
  busy: refused("busy"),
  malformedStreams: {
    name: "ztna_streams_malformed_total",
    kind: "counter",
    help: "Streams aborted because their header was malformed or late.",
  },
  ignoredMalformed: ignored("malformed"),
  ignoredUnknown: ignored("unknown-connection"),
  ignoredShort: ignored("short-initial"),
  ignoredConnectionLimit: ignored("connection-limit"),
  ignoredHandshakeLimit: ignored("handshake-limit"),
  undecryptable: ignored("undecryptable"),
  sendErrors: { name: "ztna_udp_send_errors_total", kind: "counter", help: "UDP packets that the kernel refused to send." },
  gsoOff: {
    name: "ztna_udp_gso_off",
    kind: "gauge",
    help: "1 when the kernel refused segmentation offload and packets leave one by one.",
  },
} as const satisfies MetricTable;

export type ServerMetric = keyof typeof SERVER_METRICS;
