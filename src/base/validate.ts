/**
 * The grammars of what people and peers may write: service ids, short texts, durations, sizes. Text or bytes go in, a
 * {@linkcode Parsed} value comes out; nothing throws and nothing is guessed. Addresses and ports have their own file.
 */

/** What a parser returns. `why` is a phrase that can stand behind the name of the thing: "is empty", "has ...". */
export type Parsed<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly why: string };

/** Service ids of the default grammar, in characters (= bytes). */
export const SERVICE_ID_MAX = 63;
/** Service ids of the legacy grammar, in bytes of UTF-8: what the wire's length byte can say. */
export const LEGACY_SERVICE_ID_MAX_BYTES = 255;

export interface ServiceIdOptions {
  /** Take any printable UTF-8 of up to 255 bytes, as earlier ztna-v1 peers do. Off unless the operator asks for it. */
  readonly legacy?: boolean;
}

const SERVICE_ID = /^[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?$/;
/** Controls, line and paragraph separators, and the characters that turn the writing direction. */
const CONTROL = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/u;

const encoder = new TextEncoder();
const strictDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * A service id. By default lower-case letters, digits, `-`, `_` and `.`, 1 to 63 of them, first and last a letter or digit;
 * with `legacy` any well-formed text of 1 to 255 bytes without control characters. Ids are compared exactly: nothing is
 * folded, trimmed or normalised. WIRE 1.4.
 */
export function parseServiceId(text: string, options: ServiceIdOptions = {}): Parsed<string> {
  if (text === "") return refuse("is empty");
  if (options.legacy === true) return parsePrintable(text, LEGACY_SERVICE_ID_MAX_BYTES);
  if (text.length > SERVICE_ID_MAX) return refuse(`is longer than ${SERVICE_ID_MAX} characters`);
  if (!/^[a-z0-9._-]*$/.test(text)) return refuse("may have only lower-case letters, digits, '-', '_' and '.'");
  if (!SERVICE_ID.test(text)) return refuse("must start and end with a letter or digit");
  return { ok: true, value: text };
}

/** {@linkcode parseServiceId} for the bytes of a message: strict UTF-8 first (a byte order mark is kept), then the grammar. */
export function decodeServiceId(bytes: Uint8Array, offset: number, length: number, options: ServiceIdOptions = {}): Parsed<string> {
  if (length > LEGACY_SERVICE_ID_MAX_BYTES) return refuse(`is longer than ${LEGACY_SERVICE_ID_MAX_BYTES} bytes`);
  const text = decodeUtf8(bytes, offset, length);
  return text === null ? refuse("is not UTF-8") : parseServiceId(text, options);
}

/**
 * `length` bytes from `offset` as text, or null when they are not UTF-8 (RFC 3629) or leave the array. A byte order mark
 * stays a character, so that two different byte strings never become the same text.
 */
export function decodeUtf8(bytes: Uint8Array, offset: number, length: number): string | null {
  if (offset < 0 || length < 0 || offset + length > bytes.length) return null;
  try {
    return strictDecoder.decode(bytes.subarray(offset, offset + length));
  } catch {
    return null;
  }
}

/** A name from outside: well-formed, 1 to `maxBytes` bytes of UTF-8, no controls, no line separators, no change of direction. */
export function parsePrintable(text: string, maxBytes: number): Parsed<string> {
  if (text === "") return refuse("is empty");
  if (!text.isWellFormed()) return refuse("is not well-formed Unicode");
  if (text.length > maxBytes || encoder.encode(text).length > maxBytes) return refuse(`is longer than ${maxBytes} bytes`);
  if (CONTROL.test(text)) return refuse("has control characters");
  return { ok: true, value: text };
}

/** A text of 1 to `maxBytes` bytes of UTF-8 without controls but tab, line feed and carriage return: query parameters, reasons. */
export function parseSafeText(text: string, maxBytes: number): Parsed<string> {
  if (text === "") return refuse("is empty");
  if (!text.isWellFormed()) return refuse("is not well-formed Unicode");
  if (text.length > maxBytes || encoder.encode(text).length > maxBytes) return refuse(`is longer than ${maxBytes} bytes`);
  // deno-lint-ignore no-control-regex
  if (/[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]/.test(text)) return refuse("has control characters");
  return { ok: true, value: text };
}

/** From the longest: a duration names its units in this order. */
const DURATION_UNITS = [["d", 86_400_000], ["h", 3_600_000], ["m", 60_000], ["s", 1000], ["ms", 1]] as const;
/** A hundred years: more is a slip of the pen. */
export const DURATION_MAX_MS = 36_525 * 86_400_000;

/**
 * A duration in milliseconds: whole numbers with units `d`, `h`, `m`, `s`, `ms`, each at most once, longest first: `720h`,
 * `250ms`, `1h30m`. A number without a unit is refused, so that nobody mistakes seconds for milliseconds.
 */
export function parseDuration(text: string): Parsed<number> {
  if (text === "") return refuse("is empty");
  let total = 0;
  let rest = text;
  for (const [unit, unitMs] of DURATION_UNITS) {
    const match = new RegExp(`^(\\d{1,12})${unit}(?![a-z])`).exec(rest);
    if (match === null) continue;
    total += Number(match[1]) * unitMs;
    rest = rest.slice(match[0].length);
  }
  if (rest !== "") return refuse("must be whole numbers with units, longest unit first, such as 720h, 1h30m, 30s or 250ms");
  if (total > DURATION_MAX_MS) return refuse("is longer than a hundred years");
  return { ok: true, value: total };
}

const SIZE_UNITS: Readonly<Record<string, number>> = {
  "": 1,
  "B": 1,
  "kB": 1e3,
  "KB": 1e3,
  "MB": 1e6,
  "GB": 1e9,
  "TB": 1e12,
  "KiB": 2 ** 10,
  "MiB": 2 ** 20,
  "GiB": 2 ** 30,
  "TiB": 2 ** 40,
};

/**
 * A size in bytes: a whole number with `B`, `kB`, `MB`, `GB`, `TB` (powers of 1000), `KiB`, `MiB`, `GiB`, `TiB` (powers of
 * 1024) or nothing (bytes). `K`, `M` and `G` alone are refused: they mean different things to different programs.
 */
export function parseByteSize(text: string): Parsed<number> {
  const match = /^(\d{1,15})([A-Za-z]*)$/.exec(text);
  const unit = SIZE_UNITS[match?.[2] ?? "?"];
  if (match === null || unit === undefined) return refuse("must be a whole number with a unit such as kB, MB, KiB, MiB or GiB");
  const size = Number(match[1]) * unit;
  if (!Number.isSafeInteger(size)) return refuse("is too large");
  return { ok: true, value: size };
}

function refuse(why: string): { readonly ok: false; readonly why: string } {
  return { ok: false, why };
}
