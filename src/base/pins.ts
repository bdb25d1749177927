/**
 * Pinned keys: which public keys a peer's own certificate may have, whoever signed it. A pin is the SHA-256 of the certificate's
 * SubjectPublicKeyInfo in base64 (RFC 7469 §2.4). Only the leaf is compared: of what else a peer presents nobody has verified that it
 * belongs to the chain, and which authorities may sign is said by the trusted ones.
 */

/** A SHA-256 in base64: 43 characters, of which the last has two bits of nothing, and the padding. */
const PIN = /^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/;
/** As `postern certs inspect` and others write them. */
const PREFIX = "sha256/";

/** What {@linkcode parsePin} takes, in words. */
export const PIN_FORM = "must be the SHA-256 of a public key in base64, as `postern certs inspect` shows it";

/** The pin without its prefix, or null if it is none. */
export function parsePin(text: string): string | null {
  const pin = text.startsWith(PREFIX) ? text.slice(PREFIX.length) : text;
  return PIN.test(pin) ? pin : null;
}

/** Why a peer with this leaf is refused; null where it has a pinned key, or nothing is pinned. */
export function explainPins(pins: readonly string[], leaf: { readonly spkiSha256: string } | null): string | null {
  if (pins.length === 0 || leaf !== null && pins.includes(leaf.spkiSha256)) return null;
  const expected = pins.map((pin) => PREFIX + pin).join(" or ");
  return `expected a certificate with the key ${expected}, it has ${leaf === null ? "none" : PREFIX + leaf.spkiSha256}`;
}

/** What mends that. */
export const PIN_HINT =
  "if the server has a new key on purpose, pin that too: `postern certs inspect CERT` on the server shows it; else somebody stands in between";
