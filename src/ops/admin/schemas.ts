/** The JSON of the admin API as zod schemas: what comes in is checked by them, and the OpenAPI document is made of all of them. */
import * as z from "zod";
import { LOG_LEVELS, SECURITY_EVENTS, type SecurityEventType, SEVERITIES } from "../../base/mod.ts";

const time = z.iso.datetime().nullable();
const count = z.number();
const text = z.string();

export const errorSchema = z.strictObject({
  error: z.strictObject({ code: text, message: text, hint: text.nullable() }),
}).meta({ id: "Error" });

export const peerSchema = z.strictObject({
  id: text,
  role: text,
  common_name: text,
  serial: text,
  fingerprint: text,
  certificate_not_after: time,
  authorized: z.array(text),
  services: z.array(text),
  remote_addr: text,
  transport: z.literal("quic"),
  protocol: text,
  tls_version: text,
  cipher_suite: text,
  group: text,
  established: time,
  last_activity: time,
  duration: count,
  idle_duration: count,
  bytes_sent: count,
  bytes_received: count,
  rtt_ms: count.nullable(),
  packets_lost: count,
}).meta({ id: "Peer" });

export const connectionSchema = z.strictObject({
  listener: z.literal("metrics"),
  common_name: text,
  serial: text,
  fingerprint: text,
  remote_addr: text,
  transport: z.literal("tcp"),
  tls_version: text,
  cipher_suite: text,
  group: text,
  established: time,
  last_activity: time,
  duration: count,
  idle_duration: count,
  bytes_sent: count,
  bytes_received: count,
  requests: count,
}).meta({ id: "Connection" });

export const serviceSchema = z.strictObject({
  id: text,
  state: z.enum(["registered", "pending", "denied", "withdrawn", "unserved", "open"]),
  why: text,
  connectors: count,
  agents: count,
  endpoint: text,
  route: text.optional(),
}).meta({ id: "Service" });

export const flowSchema = z.strictObject({
  service: text,
  protocol: z.enum(["tcp", "udp", "icmp", "stream"]),
  state: text,
  agent: text,
  agent_id: text,
  connector: text,
  connector_id: text,
  source: text,
  destination: text,
  started: time,
  duration: count,
  bytes_to_service: count,
  bytes_from_service: count,
}).meta({ id: "Flow" });

export const limitSchema = z.strictObject({ name: text, used: count, max: count }).meta({ id: "Limit" });

export const certificateSchema = z.strictObject({
  role: text,
  subject: text,
  issuer: text,
  serial: text,
  not_before: time,
  not_after: time,
  days_left: count,
  self_signed: z.boolean(),
  revoked: z.boolean().nullable(),
}).meta({ id: "Certificate" });

export const certificatesSchema = z.strictObject({
  status: z.enum(["ok", "degraded", "failing"]),
  certificates: z.array(certificateSchema),
  revocation_lists: z.array(z.strictObject({ issuer: text, next_update: time })),
}).meta({ id: "Certificates" });

export const statusSchema = z.strictObject({
  role: z.enum(["server", "connector", "agent"]),
  name: text,
  version: text,
  pid: count,
  phase: z.enum(["starting", "ready", "degraded", "draining", "stopping"]),
  reasons: z.array(text),
  started: time,
  uptime: count,
  log_level: text,
  listeners: z.array(z.strictObject({ protocol: text, address: text })),
  sockets: z.array(z.strictObject({
    address: text,
    buffer_wanted: count,
    receive_buffer: count,
    send_buffer: count,
    sends_trains: z.boolean(),
    receives_trains: z.boolean(),
  })),
  congestion_control: text,
  uplinks: z.array(z.strictObject({
    server: text,
    state: z.enum(["connecting", "connected", "waiting", "failed", "closed"]),
    protocol: text,
    connected: time,
    rtt_ms: count.nullable(),
    attempts: count,
    last_error: text,
    servers: z.array(z.strictObject({
      server: text,
      current: z.boolean(),
      health: z.enum(["works", "failed", "untried"]),
      failures: count,
      failed: time,
      last_error: text,
    })),
  })),
  services: z.array(serviceSchema),
  peers: z.array(peerSchema),
  peers_total: count,
  connections: z.array(connectionSchema),
  flows: z.array(flowSchema),
  flows_total: count,
  limits: z.array(limitSchema),
  throughput: z.strictObject({ bytes_per_second: count, datagrams_per_second: count }),
  drops: z.array(z.strictObject({ reason: text, count })),
  certificates: z.array(certificateSchema),
}).meta({ id: "Status" });

export type CertificateJson = z.infer<typeof certificateSchema>;
export type FlowJson = z.infer<typeof flowSchema>;
export type ConnectionJson = z.infer<typeof connectionSchema>;
export type PeerJson = z.infer<typeof peerSchema>;
export type StatusJson = z.infer<typeof statusSchema>;

const eventTypes = Object.keys(SECURITY_EVENTS) as [SecurityEventType, ...SecurityEventType[]];
const scalar = z.union([z.string(), z.number(), z.boolean(), z.null()]);

export const eventSchema = z.strictObject({
  timestamp: z.iso.datetime(),
  event_type: z.enum(eventTypes),
  severity: z.enum(SEVERITIES),
  source: text,
  description: text,
  details: z.record(z.string(), scalar),
  remote_addr: text.optional(),
  local_addr: text.optional(),
  tls_version: text.optional(),
  cipher_suite: text.optional(),
  peer_cert_info: text.optional(),
}).meta({ id: "SecurityEvent" });

export const statisticsSchema = z.strictObject({
  total_connections: count,
  tls_connections: count,
  failed_handshakes: count,
  expired_certs: count,
  revoked_certs: count,
  weak_protocols: count,
  auth_failures: count,
  last_update: time,
}).meta({ id: "SecurityStatistics" });

export const settingSchema = z.strictObject({ key: text, value: text, source: text }).meta({ id: "Setting" });

export const callerSchema = z.strictObject({ pid: count, uid: count, gid: count, groups: z.array(count) }).meta({ id: "Caller" });

/** Lists are cut to this many entries unless the caller asks for fewer. */
export const LIST_MAX = 1000;

/** Digits only, as they stand in a query. */
const limitText = z.string().regex(/^(?:[1-9][0-9]{0,2}|1000)$/, { error: `must be a number from 1 to ${LIST_MAX}` });

export const listQuery = z.strictObject({ limit: limitText.optional() });
export const eventQuery = z.strictObject({
  type: z.enum(eventTypes).optional(),
  severity: z.enum(SEVERITIES).optional(),
  limit: limitText.optional(),
});
export const noQuery = z.strictObject({});

export const tokenBody = z.strictObject({ bind: z.enum(["caller", "first-use"]) });
const level = `(?:${LOG_LEVELS.join("|")}|off)`;
export const logLevelBody = z.strictObject({
  level: z.string().max(4096).regex(new RegExp(`^${level}(?:,[a-z][a-z0-9_]*=${level})*$`), {
    error: "must be a level, or a level and modules such as info,uplink=debug",
  }),
});
export const drainBody = z.strictObject({});
export const denyBody = z.strictObject({
  serial: z.string().regex(/^[0-9a-f]{1,40}$/, { error: "must be lower-case hexadecimal without separators" }),
  reason: z.string().max(200).regex(/^[\x20-\x7e]*$/, { error: "must be printable ASCII" }).default(""),
});
/** In the path. */
export const peerId = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, { error: "must be the id of a peer" });
