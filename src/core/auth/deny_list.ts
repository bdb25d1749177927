/**
 * Certificates that are refused by serial number, beside what the CRLs say. The list is built whole from its text and
 * swapped on reload; nobody edits it.
 *
 * Text form: one entry a line, the serial in hexadecimal (colons allowed), then optionally the issuer's name; a line
 * without an issuer denies the serial of every issuer. `#` begins a comment line.
 */

import type { AuthProblem, Identity } from "./identity.ts";
import { normalizeSerial } from "./identity.ts";

/** More lines than this is a mistake: a CRL is the tool for that. */
export const DENY_LIST_ENTRIES_MAX = 100_000;

/** Which certificate it is: no issuer gives a serial number twice. */
export interface CertificateNumber {
  readonly issuer: string;
  /** Hexadecimal. */
  readonly serial: string;
}

export interface DenyEntry {
  /** Hexadecimal. */
  readonly serial: string;
  /** As the certificate's issuer is written, or null for any issuer. */
  readonly issuer: string | null;
}

export class DenyList {
  readonly #entries = new Set<string>();

  constructor(entries: readonly DenyEntry[] = []) {
    for (const entry of entries) this.#entries.add(entryKey(entry.serial, entry.issuer));
  }

  get size(): number {
    return this.#entries.size;
  }

  /**
   * The problem of a certificate that is on the list, or null. Tokens have no serial and are never on it. `authorities` are the
   * certificates above it; those are denied by issuer and serial only, since a serial alone means a leaf.
   */
  problemOf(identity: Identity, authorities: readonly CertificateNumber[] = []): AuthProblem | null {
    if (identity.source !== "certificate" || this.#entries.size === 0) return null;
    const denied = this.#entries.has(entryKey(identity.serial, null)) ||
      this.#entries.has(entryKey(identity.serial, identity.issuer));
    if (denied) return { kind: "problem", code: "revoked", message: "certificate revoked" };
    if (!authorities.some(({ serial, issuer }) => this.#entries.has(entryKey(serial, issuer)))) return null;
    return { kind: "problem", code: "revoked", message: "an authority of the certificate is revoked" };
  }
}

export type DenyListText =
  | { readonly kind: "entries"; readonly entries: readonly DenyEntry[] }
  | { readonly kind: "malformed"; readonly line: number; readonly why: string };

/** Reads the text form. One bad line refuses the whole list: a typing error must not let a revoked peer in. */
export function parseDenyList(text: string): DenyListText {
  const entries: DenyEntry[] = [];
  for (const [at, raw] of text.split(/\r?\n/).entries()) {
    const line = raw.trim();
    if (line === "" || line.startsWith("#")) continue;
    const [serial = "", ...rest] = line.split(/\s+/);
    if (!/^(0x)?[0-9a-f]+(:[0-9a-f]+)*$/i.test(serial) || serial.length > 128) {
      return { kind: "malformed", line: at + 1, why: "expected a serial number in hexadecimal" };
    }
    if (entries.length >= DENY_LIST_ENTRIES_MAX) {
      return { kind: "malformed", line: at + 1, why: `more than ${DENY_LIST_ENTRIES_MAX} entries` };
    }
    entries.push({ serial, issuer: rest.length === 0 ? null : rest.join(" ") });
  }
  return { kind: "entries", entries };
}

function entryKey(serial: string, issuer: string | null): string {
  return issuer === null ? normalizeSerial(serial) : `${normalizeSerial(serial)} ${issuer.trim().replaceAll(/\s+/g, " ")}`;
}
