/** What loading certificates, keys and lists needs of the world, and the reading of one file of theirs in words for a person. */
import { type LogRecord, messageOf, PosternError } from "../base/mod.ts";

/** What of a certificate is looked at here. */
export interface CertificateFacts {
  readonly subject: string;
  readonly dnsNames: readonly string[];
  /** Milliseconds since the epoch. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** SHA-256 of the SubjectPublicKeyInfo, base64. */
  readonly spkiSha256: string;
}

/** What is looked at of one revocation list. */
export interface RevocationFacts {
  /** As a certificate's issuer is written. */
  readonly issuer: string;
  /** Milliseconds since the epoch. */
  readonly thisUpdateMs: number;
  /** Null: it always counts. */
  readonly nextUpdateMs: number | null;
  /** Hexadecimal. */
  readonly serials: readonly string[];
}

/** What loading needs of the world. */
export interface MaterialReader {
  /** Rejects with `Deno.errors.NotFound` when there is no such file. */
  readonly readFile: (path: string) => Promise<Uint8Array>;
  /** The permission bits, or null where there are none. */
  readonly fileMode: (path: string) => Promise<number | null>;
  /** Makes a file that only its owner may read; rejects with `Deno.errors.AlreadyExists`. Null: nothing is made. */
  readonly createPrivateFile: ((path: string, bytes: Uint8Array) => Promise<void>) | null;
  /** Every revocation list of a PEM text. Throws when one is damaged. */
  readonly readRevocationLists: (pem: Uint8Array) => readonly RevocationFacts[];
  /** Fills with unpredictable bytes. */
  readonly entropy: (bytes: Uint8Array) => void;
  /** Every certificate of a PEM text, leaf first. Throws when there is none or one is damaged. */
  readonly readCertificates: (pem: Uint8Array) => readonly CertificateFacts[];
  /** Milliseconds since the epoch. */
  readonly nowMs: number;
}

const MATERIAL_MAX_BYTES = 4 << 20;

/** Reads a file of PEM text, or says which one and why not. `what` begins the message: "Certificate file". */
export async function readMaterial(path: string, what: string, reader: MaterialReader): Promise<Uint8Array> {
  let bytes: Uint8Array;
  try {
    bytes = await reader.readFile(path);
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound || cause instanceof Deno.errors.NotADirectory) {
      throw new PosternError(`${what} not found: ${path}`, {
        code: "file-missing",
        hint: "check the path; `postern certs init` makes certificates for development",
        cause,
      });
    }
    if (cause instanceof Deno.errors.IsADirectory) {
      throw new PosternError(`${what} is a folder: ${path}`, { code: "file-unreadable", hint: "name a file in it", cause });
    }
    throw new PosternError(`${what} cannot be read: ${path}: ${messageOf(cause)}`, {
      code: "file-unreadable",
      hint: "check the owner and the mode of the file and of its directories",
      cause,
    });
  }
  if (bytes.length > MATERIAL_MAX_BYTES) throw damaged(`${what} is longer than ${MATERIAL_MAX_BYTES} bytes: ${path}`);
  return bytes;
}

/** Something is in the file, but not what should be. */
export function damaged(message: string, hint?: string, cause?: unknown): PosternError {
  return new PosternError(message, {
    code: "material",
    ...(hint === undefined ? {} : { hint }),
    ...(cause === undefined ? {} : { cause }),
  });
}

/** No block at all is an empty list: the caller says what is missing. */
export function readPem(path: string, pem: Uint8Array, reader: MaterialReader): readonly CertificateFacts[] {
  if (!new TextDecoder().decode(pem).includes("-----BEGIN CERTIFICATE-----")) return [];
  try {
    return reader.readCertificates(pem);
  } catch (cause) {
    throw damaged(
      `Certificate cannot be parsed: ${path}: ${messageOf(cause)}`,
      "it must be PEM; `postern certs inspect` shows what is in it",
      cause,
    );
  }
}

export function expiredError(path: string, notAfterMs: number, what: string): PosternError {
  return new PosternError(`${what} expired on ${isoTime(notAfterMs)}: ${path}`, {
    code: "certificate-expired",
    hint: "renew it; `postern certs init --force` renews a development set",
  });
}

/** Something to tell the operator; `subject` is the path or the setting. */
export function warning(message: string, subject: string): LogRecord {
  return { level: "warn", event: "settings-warning", message, fields: { subject } };
}

/** ISO 8601 without milliseconds. */
export function isoTime(ms: number): string {
  return new Date(ms).toISOString().replace(".000Z", "Z");
}
