/**
 * The words of registration: what a connection may become, what a registration is answered with, and why it is refused.
 *
 *   none ──agent──► agent ──agent──► agent          a registration in the other role is refused (NACK 02)
 *   none ──connector──► connector ──connector──► connector
 *   any ──close──► none
 */

import type { RegistryLimits } from "./limits.ts";

export type PeerRole = "none" | "agent" | "connector";
export type RoleEvent = "agent" | "connector" | "close";

/** The next role of a connection, or null where the event is refused. */
export const ROLE_TABLE: Readonly<Record<PeerRole, Readonly<Record<RoleEvent, PeerRole | null>>>> = {
  none: { agent: "agent", connector: "connector", close: "none" },
  agent: { agent: "agent", connector: null, close: "none" },
  connector: { agent: null, connector: "connector", close: "none" },
};

/** The status byte of a NACK (docs/WIRE.md, registration). */
export const NackStatus = { invalid: 0x01, notAuthorised: 0x02, taken: 0x03, rateLimited: 0x04 } as const;
export type NackStatus = typeof NackStatus[keyof typeof NackStatus];

export type RefusalReason =
  | "invalid-service-id"
  | "other-role"
  | "taken"
  | "replacement-loop"
  | "pool-full"
  | "services-per-connection"
  | "services-per-source"
  | "services-per-identity"
  | "services-in-all"
  | "peers-in-all";

export interface Replacement {
  readonly service: string;
  readonly oldPeer: number;
  readonly newPeer: number;
  /** `Connector replacement: service '<id>' was <old>, now <new>`. */
  readonly message: string;
}

export type RegistrationOutcome =
  | {
    readonly kind: "registered";
    readonly service: number;
    /** False when the connection had registered this service before: it is acknowledged again. */
    readonly isNew: boolean;
    readonly replaced: Replacement | null;
  }
  | { readonly kind: "refused"; readonly status: NackStatus; readonly why: RefusalReason };

export interface ConnectorOptions {
  /** `Identity.key`, or null for a connection without one. */
  readonly identity: string | null;
  /** Of `sourcePrefixKey`: where the connection comes from. */
  readonly source?: string;
  /** How logs call the connection. */
  readonly label: string;
  /** Whether the connection speaks ztna-v2. */
  readonly takesStreams: boolean;
}

export interface RegistryOptions {
  readonly limits?: RegistryLimits;
  /** Takes ids of earlier ztna-v1 peers that our grammar refuses. */
  readonly allowLegacyServiceIds?: boolean;
  /** Lets a connector without an identity replace another one without. */
  readonly allowConnectorTakeover?: boolean;
}

/** What ended with a connection. */
export interface Unregistration {
  readonly role: PeerRole;
  readonly services: readonly string[];
  /** Those of its services that no connector serves any more. */
  readonly orphaned: readonly string[];
}

/** What the flow table asks of the registry, once per packet. */
export interface ConnectorDirectory {
  /** Changes whenever a choice of connector may turn out differently. */
  readonly epoch: number;
  /** The connector for a flow that `current` (or -1) served so far; -1 when there is none. */
  connectorForFlow(service: number, current: number): number;
  /** The services that a connection serves as a connector. */
  connectorServices(peer: number): readonly number[];
  /** `Identity.key` of an agent, or null for one without. */
  agentIdentity(peer: number): string | null;
  /** Whose share of what all have the agent takes: its identity's, or its source's. */
  agentShare(peer: number): string;
}

/** A refusal as an outcome. */
export function refused(status: NackStatus, why: RefusalReason): RegistrationOutcome {
  return { kind: "refused", status, why };
}

const REFUSAL_TEXTS: Readonly<Record<RefusalReason, string>> = {
  "invalid-service-id": "the service id is malformed",
  "other-role": "the connection is registered in the other role",
  "taken": "another connection serves this service, and nothing proves that this is the same client",
  "replacement-loop": "two connections of one identity keep taking the service from each other; issue one certificate per replica",
  "pool-full": "the service has as many connectors as it may have",
  "services-per-connection": "the connection has as many services as it may have",
  "services-per-source": "the connections from this address have as many services as they may have",
  "services-per-identity": "the connections of this identity have as many services as they may have",
  "services-in-all": "the server has as many services as it may have",
  "peers-in-all": "the server has as many registered connections as it may have",
};

/** A refusal in words, for logs; for the loop also what to do about it. */
export function formatRefusal(why: RefusalReason): string {
  return REFUSAL_TEXTS[why];
}
