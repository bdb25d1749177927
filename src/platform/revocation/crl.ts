/** Certificate revocation lists (RFC 5280 §5) out of PEM text: who issued them, until when they count, which serials they name. */
import { Buffer } from "node:buffer";
import { DerReader, type Element, Tag } from "./der.ts";
import { nameText } from "./name_text.ts";

export interface RevocationList {
  /** As the native library writes the issuer of a certificate. */
  readonly issuer: string;
  /** Milliseconds since the epoch. */
  readonly thisUpdateMs: number;
  /** Null when the list names none: then it always counts. */
  readonly nextUpdateMs: number | null;
  /** Lower-case hexadecimal, without leading zeros. */
  readonly serials: readonly string[];
}

const BLOCK = /-----BEGIN X509 CRL-----([A-Za-z0-9+/=\s]+)-----END X509 CRL-----/g;

/** Every list of a PEM text, in order; none is an empty array. Throws when one is damaged. Signatures are not looked at. */
export function readRevocationLists(pem: Uint8Array): RevocationList[] {
  const text = new TextDecoder().decode(pem);
  return [...text.matchAll(BLOCK)].map(([, base64 = ""], at) => {
    try {
      return readList(new Uint8Array(Buffer.from(base64, "base64")));
    } catch (cause) {
      throw new RangeError(`CRL ${at + 1}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    }
  });
}

function readList(der: Uint8Array): RevocationList {
  const list = new DerReader(der).enter(Tag.sequence);
  const body = list.enter(Tag.sequence);
  if (body.nextTag === Tag.integer) body.next();
  body.next(Tag.sequence);
  const issuer = nameText(body);
  const thisUpdateMs = timeOf(der, body.next());
  const hasNext = body.nextTag === Tag.utcTime || body.nextTag === Tag.generalizedTime;
  const nextUpdateMs = hasNext ? timeOf(der, body.next()) : null;
  const serials: string[] = [];
  if (body.nextTag === Tag.sequence) {
    const entries = body.enter(Tag.sequence);
    while (!entries.isAtEnd) serials.push(serialOf(der, entries.enter(Tag.sequence).next(Tag.integer)));
  }
  return { issuer, thisUpdateMs, nextUpdateMs, serials };
}

function serialOf(der: Uint8Array, { contentAt, end }: Element): string {
  if (contentAt === end) throw new RangeError("a serial number without a digit");
  let text = "";
  for (let at = contentAt; at < end; at++) text += (der[at] ?? 0).toString(16).padStart(2, "0");
  return text.replace(/^0+(?=.)/, "");
}

/** UTCTime `YYMMDDHHMMSSZ` and GeneralizedTime `YYYYMMDDHHMMSSZ` (RFC 5280 §4.1.2.5). */
function timeOf(der: Uint8Array, { tag, contentAt, end }: Element): number {
  const text = new TextDecoder().decode(der.subarray(contentAt, end));
  const match =
    (tag === Tag.utcTime ? /^(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})Z$/ : /^(\d{4})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})Z$/)
      .exec(text);
  if (match === null || (tag !== Tag.utcTime && tag !== Tag.generalizedTime)) throw new RangeError(`not a time: ${text}`);
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(1).map(Number);
  const fullYear = tag === Tag.utcTime ? (year < 50 ? 2000 : 1900) + year : year;
  return Date.UTC(fullYear, month - 1, day, hour, minute, second);
}
