/** The connector's counters and gauges. */
import type { MetricTable } from "../../base/mod.ts";

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
  datagramsDropped: {
    name: "ztna_connector_datagrams_dropped_total",
    kind: "counter",
    help: "Datagrams that this version does not serve.",
  },
} as const satisfies MetricTable;
