/**
 * From a verified certificate (or registration token) to the identity that the rest of the server knows: a name, what makes
 * two connections "the same identity", and the set of `role:service` that the ZTNA names in the SAN authorise.
 *
 * A ZTNA name is `agent.<service>.ztna` or `connector.<service>.ztna`; the service may contain dots and may be `*`.
 */

export const ROLES = ["agent", "connector"] as const;
export type Role = typeof ROLES[number];

/** What is read of a certificate. The engine's CertificateSummary has all of it. */
export interface CertificateFacts {
  readonly commonName: string | null;
  readonly issuer: string;
  /** Hexadecimal. */
  readonly serial: string;
  readonly dnsNames: readonly string[];
  /** Milliseconds since the epoch. */
  readonly notAfterMs: number;
  /** SHA-256 of the DER certificate, lower-case hexadecimal. */
  readonly fingerprint: string;
}

export interface Identity {
  readonly kind: "identity";
  readonly source: "certificate" | "token";
  readonly commonName: string;
  readonly fingerprint: string;
  readonly issuer: string;
  /** Lower-case hexadecimal without leading zeros. */
  readonly serial: string;
  /** Milliseconds since the epoch. */
  readonly notAfterMs: number;
  /** `role:service`, lower case; the service may be `*`. */
  readonly authorizations: ReadonlySet<string>;
  /** Whether any DNS name ends in `.ztna`, also one that authorises nothing: such a certificate is never a legacy one. */
  readonly hasZtnaName: boolean;
  /** Equal for two connections of one identity: see {@linkcode identityKey}. */
  readonly key: string;
}

export interface AuthProblem {
  readonly kind: "problem";
  readonly code: "no-common-name" | "unreadable" | "expired" | "revoked";
  /** One sentence, also used as the close reason. */
  readonly message: string;
}

const ZTNA_SUFFIX = ".ztna";

/** The identity in a *verified* certificate, or why there is none. A certificate that was not verified has no identity: pass null on. */
export function identityFrom(certificate: CertificateFacts): Identity | AuthProblem {
  const commonName = certificate.commonName;
  if (commonName === null || commonName === "") {
    return { kind: "problem", code: "no-common-name", message: "certificate has no Common Name" };
  }
  const authorizations = new Set<string>();
  for (const name of certificate.dnsNames) {
    const authorization = parseZtnaName(name);
    if (authorization !== null) authorizations.add(authorization);
  }
  return {
    kind: "identity",
    source: "certificate",
    commonName,
    fingerprint: certificate.fingerprint,
    issuer: certificate.issuer,
    serial: normalizeSerial(certificate.serial),
    notAfterMs: certificate.notAfterMs,
    authorizations,
    hasZtnaName: certificate.dnsNames.some((name) => lowerAscii(name).endsWith(ZTNA_SUFFIX)),
    key: identityKey(certificate.issuer, commonName, authorizations),
  };
}

/** The problem of a certificate that the native library could not read. */
export function unreadableCertificate(detail: string): AuthProblem {
  return { kind: "problem", code: "unreadable", message: `certificate parse error: ${detail}` };
}

/** The claims of a registration token whose signature and holder's key have been verified. `*` is every service. */
export interface VerifiedClaims {
  readonly role: Role;
  readonly services: readonly string[];
  /** Seconds since the epoch; void from this moment on. */
  readonly expiresSeconds: number;
  /** SHA-256 of the holder's SubjectPublicKeyInfo, hexadecimal. */
  readonly holder: string;
}

/** The identity that a verified registration token stands for. It is named after the holder's key. */
export function identityFromToken(claims: VerifiedClaims): Identity {
  const services = claims.services.filter((service) => service !== "");
  const authorizations = new Set(services.map((service) => `${claims.role}:${lowerAscii(service)}`));
  const commonName = `token:${claims.holder}`;
  return {
    kind: "identity",
    source: "token",
    commonName,
    fingerprint: claims.holder,
    issuer: "",
    serial: "",
    notAfterMs: claims.expiresSeconds * 1000 - 1,
    authorizations,
    hasZtnaName: true,
    key: identityKey("", commonName, authorizations),
  };
}

/**
 * What makes two connections one identity: issuer, common name and the sorted ZTNA names. A renewed certificate keeps its
 * identity. The parts are joined as JSON, so that no choice of names makes two identities collide.
 */
export function identityKey(issuer: string, commonName: string, authorizations: Iterable<string>): string {
  return JSON.stringify([issuer, commonName, [...authorizations].sort()]);
}

/** `role:service` of a ZTNA name in lower case, or null for every other name. */
export function parseZtnaName(name: string): string | null {
  // Only printable ASCII: folding anything else could turn one name into another (U+212A KELVIN SIGN lower-cases to `k`).
  if (!/^[\x21-\x7e]+$/.test(name)) return null;
  const lower = lowerAscii(name);
  if (!lower.endsWith(ZTNA_SUFFIX)) return null;
  const body = lower.slice(0, -ZTNA_SUFFIX.length);
  const dot = body.indexOf(".");
  if (dot < 0) return null;
  const role = body.slice(0, dot);
  const service = body.slice(dot + 1);
  if (!ROLES.some((known) => known === role) || service === "") return null;
  return `${role}:${service}`;
}

/** The ZTNA name that grants `role:service`: the inverse of {@linkcode parseZtnaName}. */
export function formatZtnaName(authorization: string): string {
  const colon = authorization.indexOf(":");
  return `${authorization.slice(0, colon)}.${authorization.slice(colon + 1)}${ZTNA_SUFFIX}`;
}

/** Why the identity may not be used (any longer) at this time, or null. */
export function validityProblem(identity: Identity, nowMs: number): AuthProblem | null {
  if (nowMs <= identity.notAfterMs) return null;
  return { kind: "problem", code: "expired", message: `${identity.source} expired` };
}

/** Lower-case hexadecimal without separators and leading zeros. */
export function normalizeSerial(serial: string): string {
  const digits = serial.toLowerCase().replaceAll(/[:\s]/g, "").replace(/^0x/, "").replace(/^0+/, "");
  return digits === "" ? "0" : digits;
}

/** Folds A to Z only: what a service id means never depends on Unicode tables. */
export function lowerAscii(text: string): string {
  return text.replaceAll(/[A-Z]+/g, (letters) => letters.toLowerCase());
}
