/**
 * What a security event is. Any isolate makes a {@linkcode SecurityEventInput}; `src/ops/events` stamps it, keeps it and hands it on.
 * The field names are those of the published JSON, so what an operator reads is what stands here.
 */

export const SEVERITIES = ["info", "warning", "error", "critical"] as const;
export type Severity = typeof SEVERITIES[number];

export type SecurityEventSource = "tls_auditor" | "certificate_auditor" | "protocol_auditor" | "auth_auditor" | "custom";

interface SecurityEventKind {
  readonly severity: Severity;
  readonly source: SecurityEventSource;
  readonly description: string;
}

/** Every type of event. `docs/OPERATIONS.md` lists the same; a test compares the two. */
export const SECURITY_EVENTS = {
  tls_connection: { severity: "info", source: "tls_auditor", description: "TLS connection established" },
  handshake_failure: { severity: "warning", source: "tls_auditor", description: "TLS handshake failed" },
  certificate_expired: { severity: "error", source: "certificate_auditor", description: "Expired certificate detected" },
  certificate_revoked: { severity: "error", source: "certificate_auditor", description: "Revoked certificate detected" },
  certificate_expiring: { severity: "warning", source: "certificate_auditor", description: "A certificate of ours ends soon" },
  certificate_reloaded: { severity: "info", source: "certificate_auditor", description: "Certificates were read anew" },
  certificate_reload_failed: {
    severity: "error",
    source: "certificate_auditor",
    description: "New certificates were refused; the old ones stay in use",
  },
  crl_expiring: { severity: "warning", source: "certificate_auditor", description: "A revocation list ends soon" },
  weak_protocol: { severity: "warning", source: "protocol_auditor", description: "Weak TLS protocol version detected" },
  auth_failure: { severity: "warning", source: "auth_auditor", description: "Authentication failed" },
  registration_denied: { severity: "warning", source: "auth_auditor", description: "Registration denied" },
  connector_replacement: { severity: "warning", source: "auth_auditor", description: "A connector took over a service" },
  rate_limited: { severity: "warning", source: "auth_auditor", description: "Rate limit exceeded" },
  policy_rejected: { severity: "warning", source: "auth_auditor", description: "Policy rejected a request" },
  metrics_denied: { severity: "warning", source: "auth_auditor", description: "A certificate may not read this path" },
  admin_denied: { severity: "warning", source: "auth_auditor", description: "A local caller was turned away" },
  admin_steered: { severity: "info", source: "custom", description: "An operator steered this process" },
  serial_denied: { severity: "warning", source: "certificate_auditor", description: "A certificate's serial was denied" },
} as const satisfies Readonly<Record<string, SecurityEventKind>>;

export type SecurityEventType = keyof typeof SECURITY_EVENTS;

export type SecurityEventDetails = Readonly<Record<string, string | number | boolean | null>>;

/** What a producer says; the rest follows from the type. */
export interface SecurityEventInput {
  readonly event_type: SecurityEventType;
  readonly details: SecurityEventDetails;
  readonly remote_addr?: string;
  readonly local_addr?: string;
  /** `TLS 1.3`. */
  readonly tls_version?: string;
  /** `TLS_AES_256_GCM_SHA384`. */
  readonly cipher_suite?: string;
  /** `CN=…, Issuer=…, Expiry=<RFC 3339>`. */
  readonly peer_cert_info?: string;
}

/** An event as it is kept, shown and sent. */
export interface SecurityEvent extends SecurityEventInput {
  /** RFC 3339 with fractions, UTC. */
  readonly timestamp: string;
  readonly severity: Severity;
  readonly source: SecurityEventSource;
  readonly description: string;
}

/** Takes an event. It must not throw and must not keep the caller waiting. */
export type SecurityEventSink = (event: SecurityEvent) => void;
