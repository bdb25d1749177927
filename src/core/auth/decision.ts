/**
 * May this identity act as this role for this service? One pure function, deny by default. The caller turns the answer
 * into an ACK, a NACK or a stream's RESULT and counts it by its reason.
 */

import { formatZtnaName, type Identity, lowerAscii, type Role } from "./identity.ts";

export interface AuthorizeOptions {
  /** A certificate without any ZTNA name may act for every service, as in earlier ztna-v1 servers. Off by default. */
  readonly allowLegacyCerts: boolean;
  /** `agent:ID` or `connector:ID` that a client without a verified certificate or token may use. Compared exactly. */
  readonly anonymous: ReadonlySet<string>;
}

/** Nothing is allowed but what a certificate says. */
export const STRICT_AUTHORIZATION: AuthorizeOptions = { allowLegacyCerts: false, anonymous: new Set() };

export type DenyReason = "no-identity" | "no-ztna-name" | "not-named";

export type AuthDecision =
  | {
    readonly allowed: true;
    readonly by: "exact" | "wildcard" | "legacy-certificate" | "anonymous";
    /** The ZTNA name that allowed it, such as `agent.web.ztna`; "" where there is none. */
    readonly name: string;
  }
  | { readonly allowed: false; readonly why: DenyReason };

/** Decides on `role` for `service`. `identity` is null for a peer whose certificate is missing or was not verified. */
export function authorize(identity: Identity | null, role: Role, service: string, options: AuthorizeOptions): AuthDecision {
  if (service === "") return { allowed: false, why: identity === null ? "no-identity" : "not-named" };
  if (identity === null) {
    if (options.anonymous.has(`${role}:${service}`)) return { allowed: true, by: "anonymous", name: "" };
    return { allowed: false, why: "no-identity" };
  }
  const exact = `${role}:${lowerAscii(service)}`;
  if (identity.authorizations.has(exact)) return { allowed: true, by: "exact", name: formatZtnaName(exact) };
  const wildcard = `${role}:*`;
  if (identity.authorizations.has(wildcard)) return { allowed: true, by: "wildcard", name: formatZtnaName(wildcard) };
  if (identity.hasZtnaName) return { allowed: false, why: "not-named" };
  if (options.allowLegacyCerts) return { allowed: true, by: "legacy-certificate", name: "" };
  return { allowed: false, why: "no-ztna-name" };
}

const DENY_TEXTS: Readonly<Record<DenyReason, string>> = {
  "no-identity": "the client presented no verified certificate or token",
  "no-ztna-name": "the certificate has no agent.<service>.ztna or connector.<service>.ztna name",
  "not-named": "the certificate does not name this role and service",
};

/** The reason in words, for logs and refusals. */
export function formatDenyReason(why: DenyReason): string {
  return DENY_TEXTS[why];
}
