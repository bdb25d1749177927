/** The events of one process: the newest of each severity, counts of all, listeners that follow. Recording takes microseconds. */
import {
  messageOf,
  metricCells,
  type MetricDefinition,
  type MetricSample,
  readMetrics,
  SECURITY_EVENTS,
  type SecurityEvent,
  type SecurityEventDetails,
  type SecurityEventInput,
  type SecurityEventSink,
  type SecurityEventType,
  type Severity,
} from "../../base/mod.ts";
import { escapeText } from "../log/mod.ts";
import { type EventBounds, EventRing } from "./event_ring.ts";

/** The published counters of what happened since the start. */
export interface SecurityStatistics {
  readonly total_connections: number;
  readonly tls_connections: number;
  readonly failed_handshakes: number;
  readonly expired_certs: number;
  readonly revoked_certs: number;
  readonly weak_protocols: number;
  readonly auth_failures: number;
  /** RFC 3339, null before the first event. */
  readonly last_update: string | null;
}

export interface EventQuery {
  readonly type?: SecurityEventType;
  readonly severity?: Severity;
  readonly limit: number;
}

export interface SecurityEventStream {
  /** Takes an event in. Never throws; strings are cut and made harmless. */
  record(input: SecurityEventInput): void;
  /** Newest first. */
  query(query: EventQuery): SecurityEvent[];
  statistics(): SecurityStatistics;
  /** Hears every later event. Returns what takes it off again. */
  subscribe(sink: SecurityEventSink): () => void;
  metrics(): MetricSample[];
  readonly size: number;
}

export const EVENTS_MAX = 10_000;
export const EVENT_AGE_MAX_MS = 720 * 3_600_000;
/** Followers: our own commands, alerts, later forwarders. */
const SINKS_MAX = 32;
const DETAILS_MAX = 16;
const TEXT_MAX = 512;

type TypeTable = { readonly [K in SecurityEventType]: MetricDefinition };

const definitions: Record<string, MetricDefinition> = Object.fromEntries(
  Object.keys(SECURITY_EVENTS).map((type) => [type, {
    name: "postern_security_events_total",
    kind: "counter",
    help: "Security events by type.",
    labels: { type },
  }]),
);
const TYPE_TABLE = definitions as TypeTable;

const BOUNDS: EventBounds = { max: EVENTS_MAX, ageMaxMs: EVENT_AGE_MAX_MS };

/** `nowMs` is milliseconds since the epoch; `onSinkFailure` hears of a sink that threw, which is then taken off. */
export function openEventStream(
  onSinkFailure: (why: string) => void,
  nowMs: () => number = Date.now,
  bounds: EventBounds = BOUNDS,
): SecurityEventStream {
  const ring = new EventRing(bounds);
  const sinks = new Set<SecurityEventSink>();
  const counts = metricCells(TYPE_TABLE);
  let lastUpdate: string | null = null;

  return {
    record(input) {
      const event = stamp(input, nowMs());
      lastUpdate = event.timestamp;
      const cell = counts.index[event.event_type];
      counts.cells[cell] = (counts.cells[cell] ?? 0) + 1 + leftOutBefore(input);
      ring.add(event);
      for (const sink of sinks) {
        try {
          sink(event);
        } catch (error) {
          sinks.delete(sink);
          onSinkFailure(messageOf(error));
        }
      }
    },
    query({ type, severity, limit }) {
      ring.dropOld(nowMs());
      const found: SecurityEvent[] = [];
      for (const event of ring.newest()) {
        if (found.length >= limit) break;
        if (type !== undefined && event.event_type !== type) continue;
        if (severity !== undefined && event.severity !== severity) continue;
        found.push(event);
      }
      return found;
    },
    statistics() {
      const count = (type: SecurityEventType) => counts.cells[counts.index[type]] ?? 0;
      return {
        total_connections: count("tls_connection") + count("handshake_failure"),
        tls_connections: count("tls_connection"),
        failed_handshakes: count("handshake_failure"),
        expired_certs: count("certificate_expired"),
        revoked_certs: count("certificate_revoked"),
        weak_protocols: count("weak_protocol"),
        auth_failures: count("auth_failure"),
        last_update: lastUpdate,
      };
    },
    subscribe(sink) {
      if (sinks.size < SINKS_MAX) sinks.add(sink);
      else onSinkFailure(`more than ${SINKS_MAX} followers`);
      return () => void sinks.delete(sink);
    },
    metrics: () => readMetrics(counts),
    get size() {
      return ring.size;
    },
  };
}

/** How many of the type its producer did not tell before this one: they are counted with it. */
function leftOutBefore({ details }: SecurityEventInput): number {
  const leftOut = details["left_out"];
  return typeof leftOut === "number" && leftOut > 0 ? leftOut : 0;
}

function stamp(input: SecurityEventInput, nowMs: number): SecurityEvent {
  const { severity, source, description } = SECURITY_EVENTS[input.event_type];
  return {
    timestamp: new Date(nowMs).toISOString(),
    event_type: input.event_type,
    severity,
    source,
    description,
    details: cleanDetails(input.details),
    ...cleanOptional(input),
  };
}

const OPTIONAL = ["remote_addr", "local_addr", "tls_version", "cipher_suite", "peer_cert_info"] as const;

function cleanOptional(input: SecurityEventInput): Partial<Record<typeof OPTIONAL[number], string>> {
  const clean: Partial<Record<typeof OPTIONAL[number], string>> = {};
  for (const name of OPTIONAL) {
    const value = input[name];
    if (value !== undefined) clean[name] = escapeText(value, TEXT_MAX);
  }
  return clean;
}

function cleanDetails(details: SecurityEventDetails): SecurityEventDetails {
  const clean: Record<string, string | number | boolean | null> = {};
  for (const [name, value] of Object.entries(details).slice(0, DETAILS_MAX)) {
    clean[name] = typeof value === "string" ? escapeText(value, TEXT_MAX) : value;
  }
  return clean;
}
