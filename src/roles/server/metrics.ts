/** The server's counters and gauges. Names that earlier servers expose are kept. */
import { type MetricDefinition, type MetricTable, tlsMetrics } from "../../base/mod.ts";
import { LIMIT_NAMES, type LimitName } from "../../core/ratelimit/mod.ts";
import { FlowDrop, type FlowDropName } from "../../core/registry/mod.ts";

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

const rejected = (answer: string) => ({
  name: "ztna_packets_rejected_total",
  kind: "counter" as const,
  help: "Packets that are not relayed and whose sender was told so, by the answer; none: one answer too many.",
  labels: { answer },
});

const signalStreamRefused = (reason: string) => ({
  name: "ztna_signal_streams_refused_total",
  kind: "counter" as const,
  help: "Signalling streams that were aborted, by reason.",
  labels: { reason },
});

const closed = (reason: string) => ({
  name: "ztna_peers_closed_total",
  kind: "counter" as const,
  help: "Connected peers that were closed because they may not stay, by reason.",
  labels: { reason },
});

/** A word of the code as a label: `unknownFlow` is `unknown-flow`. */
const labelOf = (word: string) => word.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

type FlowMetrics = { readonly [N in FlowDropName as `flow:${N}`]: MetricDefinition };
type LimitMetrics = { readonly [N in LimitName as `limit:${N}`]: MetricDefinition };

const FLOW_METRICS = Object.fromEntries(
  Object.keys(FlowDrop).map((name) => [`flow:${name}`, dropped(labelOf(name))]),
) as unknown as FlowMetrics;

const LIMIT_METRICS = Object.fromEntries(
  LIMIT_NAMES.map((limit) => [`limit:${limit}`, {
    name: "ztna_limited_total",
    kind: "counter" as const,
    help: "What was refused or dropped because of a limit, by limit.",
    labels: { limit },
  }]),
) as unknown as LimitMetrics;

export const SERVER_METRICS = {
  activeConnections: { name: "ztna_active_connections", kind: "gauge", help: "QUIC connections, handshaking ones included." },
  accepted: { name: "ztna_connections_accepted_total", kind: "counter", help: "Connections that began a handshake." },
  established: { name: "ztna_connections_established_total", kind: "counter", help: "Connections whose peer was identified." },
  refusedConnections: {
    name: "ztna_connections_refused_total",
    kind: "counter",
    help: "Handshakes that failed or whose peer was refused.",
  },
  ...tlsMetrics("quic"),
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
  droppedOverLimit: dropped("over-limit"),
  droppedPeerGone: dropped("peer-gone"),
  droppedTooLarge: dropped("too-large"),
  droppedQueue: dropped("queue-full"),
  droppedQueueMemory: dropped("queue-memory"),
  droppedReceive: dropped("receive-queue"),
  droppedRing: dropped("ring-full"),
  waitingDatagrams: {
    name: "ztna_datagrams_waiting",
    kind: "gauge",
    help: "Datagrams that wait for connections which cannot send all that they are given.",
  },
  ...FLOW_METRICS,
  flowsLearned: { name: "ztna_flows_learned_total", kind: "counter", help: "Flows that began." },
  flowsRewritten: {
    name: "ztna_flows_rewritten_total",
    kind: "counter",
    help: "Flows whose source was replaced because another agent uses the same.",
  },
  flowsExpired: { name: "ztna_flows_expired_total", kind: "counter", help: "Flows whose time was over." },
  tooLargeAnswered: {
    name: "ztna_too_large_answered_total",
    kind: "counter",
    help: "Packets too large for the next connection whose sender was told the size that passes.",
  },
  rejectedReset: rejected("reset"),
  rejectedUnreachable: rejected("unreachable"),
  rejectionsSuppressed: rejected("none"),
  signalSessions: {
    name: "ztna_signaling_sessions_total",
    kind: "counter",
    help: "Signalling sessions that were passed on to a connector.",
  },
  activeSignalSessions: { name: "ztna_signaling_sessions", kind: "gauge", help: "Signalling sessions that are open now." },
  heldSignalBytes: {
    name: "ztna_signal_held_bytes",
    kind: "gauge",
    help: "Bytes of signalling messages whose rest has not come.",
  },
  signalsRefused: { name: "ztna_signals_refused_total", kind: "counter", help: "Signalling messages that were refused." },
  signalsMalformed: { name: "ztna_signals_malformed_total", kind: "counter", help: "Signalling messages that were malformed." },
  signalsDropped: {
    name: "ztna_signals_dropped_total",
    kind: "counter",
    help: "Signalling messages that a peer had no room for.",
  },
  signalStreamsMany: signalStreamRefused("too-many-streams"),
  signalStreamsHeld: signalStreamRefused("held-bytes"),
  signalStreamsLate: signalStreamRefused("late"),
  signalStreamsMalformed: signalStreamRefused("malformed"),
  ...LIMIT_METRICS,
  tokensAccepted: {
    name: "ztna_registration_tokens_accepted_total",
    kind: "counter",
    help: "Clients that were admitted by a registration token.",
  },
  tokensRefused: {
    name: "ztna_registration_tokens_refused_total",
    kind: "counter",
    help: "Registration tokens that were not accepted.",
  },
  closedRevoked: closed("revoked"),
  closedExpired: closed("expired"),
  closedReplaced: closed("replaced"),
  closedWithdrawn: closed("withdrawn"),
  retryTokensValidated: {
    name: "ztna_retry_tokens_validated",
    kind: "counter",
    help: "Retry tokens that proved a client's address.",
  },
  retryTokenFailures: { name: "ztna_retry_token_failures", kind: "counter", help: "Retry tokens that were refused." },
  retries: { name: "ztna_retries_total", kind: "counter", help: "Retry packets sent." },
  versionNegotiations: {
    name: "ztna_version_negotiations_total",
    kind: "counter",
    help: "Packets of other QUIC versions that were answered with ours.",
  },
  resets: { name: "ztna_stateless_resets_total", kind: "counter", help: "Stateless resets sent." },
  migrations: { name: "ztna_migrations_total", kind: "counter", help: "Connections that went over to another address." },
  rotations: {
    name: "ztna_connection_id_rotations_total",
    kind: "counter",
    help: "Connection IDs that were issued to replace older ones.",
  },
  connectionIds: {
    name: "ztna_connection_ids",
    kind: "gauge",
    help: "Connection IDs that packets may carry, retired ones included.",
  },
  handshakeTimeouts: {
    name: "ztna_handshake_timeouts_total",
    kind: "counter",
    help: "Handshakes that were given up because they took too long.",
  },
  reloads: { name: "ztna_reloads_total", kind: "counter", help: "Times that certificates, lists and limits were read anew." },
  reloadFailures: {
    name: "ztna_reload_failures_total",
    kind: "counter",
    help: "Times that what was read anew was refused.",
  },
  uptimeSeconds: { name: "ztna_uptime_seconds", kind: "gauge", help: "Seconds since the data plane began." },
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
  ignoredVersion: ignored("other-version"),
  ignoredUnknown: ignored("unknown-connection"),
  ignoredShort: ignored("short-initial"),
  ignoredConnectionLimit: ignored("connection-limit"),
  ignoredHandshakeLimit: ignored("handshake-limit"),
  ignoredPolicy: ignored("not-admitted"),
  ignoredRetryLimit: ignored("retry-limit"),
  ignoredRetiredId: ignored("retired-id"),
  ignoredForeignId: ignored("foreign-id"),
  ignoredOverShare: ignored("over-share"),
  undecryptable: ignored("undecryptable"),
  handedOver: {
    name: "ztna_packets_handed_over_total",
    kind: "counter",
    help: "UDP payloads that the kernel gave to another worker than that of their connection, and that were passed on.",
  },
  sendErrors: { name: "ztna_udp_send_errors_total", kind: "counter", help: "UDP packets that the kernel refused to send." },
  gsoOff: {
    combine: "any",
    name: "ztna_udp_gso_off",
    kind: "gauge",
    help: "1 when the kernel refused segmentation offload and packets leave one by one.",
  },
} as const satisfies MetricTable;

export type ServerMetric = keyof typeof SERVER_METRICS;
