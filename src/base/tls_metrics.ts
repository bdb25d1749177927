/** What is counted of the TLS handshakes of a listener, whichever it is: the metrics listener's, the server's for QUIC, the connector's. */
import type { MetricDefinition } from "./metric.ts";

export type TlsListenerName = "metrics" | "quic" | "p2p";

interface TlsMetrics {
  readonly tlsConnections: MetricDefinition;
  readonly tlsFailures: MetricDefinition;
  readonly tlsVersion: MetricDefinition;
}

/** The counters of one listener, for its table of metrics. */
export function tlsMetrics(listener: TlsListenerName): TlsMetrics {
  return {
    tlsConnections: {
      name: "postern_tls_connections_total",
      kind: "counter",
      help: "TLS handshakes that were completed, by listener.",
      labels: { listener },
    },
    tlsFailures: {
      name: "postern_tls_handshake_failures_total",
      kind: "counter",
      help: "TLS handshakes that failed, by listener.",
      labels: { listener },
    },
    tlsVersion: {
      name: "postern_tls_version",
      kind: "gauge",
      help: "Open TLS connections by protocol version.",
      labels: { version: "1.3" },
    },
  };
}
