/**
 * What of a record may be shown, and how. Secrets are replaced whatever the level; addresses of clients and routing decisions
 * are left out unless the module logs at `debug` or lower; every string is cut and made harmless for a terminal.
 */
import type { LogFields } from "../../base/mod.ts";

export type CleanFields = Record<string, string | number | boolean | null>;

/** Longest string value, in characters, before it is cut. */
const TEXT_MAX = 1024;
/** More fields than any record has. */
const FIELDS_MAX = 32;
const CENSOR = "[secret]";

/** Names (lower case, `_` taken out) whose values never reach a log. Pino's redaction holds the same list as a second lock. */
export const SECRET_FIELDS: readonly string[] = [
  "authorization",
  "key",
  "passphrase",
  "password",
  "privatekey",
  "secret",
  "signingkey",
  "token",
];

/** Fields that say where a client is or which way a packet takes. Any other name that ends in `Address` counts as well. */
export const ADDRESS_FIELDS: readonly string[] = [
  "from",
  "remote",
  "source",
  "destination",
  "observed",
  "candidate",
  "route",
  "backend",
];

/** Addresses that are ours: where we listen and whom we dial is configuration, not knowledge about clients. */
const OWN_ADDRESS_FIELDS: readonly string[] = ["bindAddress", "listenAddress", "serverAddress"];

/** The fields that are written, each made harmless. `withAddresses` says that the module logs at `debug` or lower. */
export function cleanFields(fields: LogFields, withAddresses: boolean): CleanFields {
  const clean: CleanFields = {};
  let count = 0;
  for (const [name, value] of Object.entries(fields)) {
    if (++count > FIELDS_MAX) break;
    if (!withAddresses && isAddressField(name)) continue;
    clean[RESERVED.has(name) ? `${name}_` : name] = cleanValue(name, value);
  }
  return clean;
}

/**
 * Text without anything that moves a cursor, hides, reverses or breaks a line: control characters, DEL and every character
 * beyond ASCII that does not print become `\uXXXX`. Cut at `max` characters, never inside an escape.
 */
export function escapeText(text: string, max: number = TEXT_MAX): string {
  if (text.length <= max && !UNSAFE.test(text)) return text;
  let out = "";
  for (const character of text) {
    const safe = UNSAFE.test(character) ? escapeCharacter(character) : character;
    if (out.length + safe.length > max) return out + "…";
    out += safe;
  }
  return out;
}

/** Names that the line itself uses. */
const RESERVED: ReadonlySet<string> = new Set(["level", "time", "role", "name", "event", "msg"]);

/** Controls, format characters (bidirectional overrides, zero-width), line separators, surrogates, private and unassigned ones. */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}\p{Cn}]/u;

function isAddressField(name: string): boolean {
  if (OWN_ADDRESS_FIELDS.includes(name)) return false;
  return ADDRESS_FIELDS.includes(name) || name.endsWith("Address");
}

function cleanValue(name: string, value: string | number | boolean | null): string | number | boolean | null {
  if (SECRET_FIELDS.includes(name.toLowerCase().replaceAll("_", ""))) return CENSOR;
  if (typeof value !== "string") return value;
  return value.includes("PRIVATE KEY-----") ? CENSOR : escapeText(value);
}

function escapeCharacter(character: string): string {
  let out = "";
  for (let i = 0; i < character.length; i++) out += "\\u" + character.charCodeAt(i).toString(16).padStart(4, "0");
  return out;
}
