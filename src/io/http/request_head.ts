/**
 * Lets a request head through only if every reader of RFC 9112 must read it the same way. What many parsers forgive (a bare LF,
 * a space before the colon, folded lines, two lengths, any transfer coding) is how one reader is made to see another message
 * than the next, so it is refused here, before the parser. Total: any bytes give a verdict.
 */
import type { HttpLimits } from "./limits.ts";

export interface HeadRefusal {
  readonly kind: "refused";
  readonly status: number;
  readonly code: string;
  readonly why: string;
}

export type HeadVerdict = { readonly kind: "ok"; readonly bodyBytes: number } | HeadRefusal;

const TARGET_MAX = 2_048;
/** RFC 9110 §5.6.2. */
const HEADER_LINE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?)?[ \t]*$/;
const REQUEST_LINE = /^([A-Z][A-Z-]{0,15}) (\/[\x21-\x7e]*) HTTP\/(\d\.\d)$/;

/**
 * Where the head in `bytes[0, length)` ends: the offset behind the empty line, -1 when it is not complete yet. Only CRLF CRLF ends
 * a head; a bare LF is refused by {@linkcode checkHead} later, or by the limit.
 */
export function findHeadEnd(bytes: Uint8Array, length: number, from: number): number {
  for (let at = Math.max(0, from - 3); at + 3 < length; at++) {
    if (bytes[at] === 13 && bytes[at + 1] === 10 && bytes[at + 2] === 13 && bytes[at + 3] === 10) return at + 4;
  }
  return -1;
}

/** Judges a complete head, the empty line included. */
export function checkHead(head: Uint8Array, limits: HttpLimits): HeadVerdict {
  const lines = latin1(head).slice(0, -4).split("\r\n");
  const request = REQUEST_LINE.exec(lines[0] ?? "");
  if (request === null) return refuse(400, "bad-request-line", "the request line is not METHOD /path HTTP/1.1");
  const [, , target = "", version] = request;
  if (version !== "1.1" && version !== "1.0") return refuse(505, "http-version", "only HTTP/1.1 is spoken here");
  if (target.length > TARGET_MAX) return refuse(414, "target-too-long", `the request target is longer than ${TARGET_MAX} bytes`);
  if (target.includes("#")) return refuse(400, "bad-request-line", "the request target has a fragment");
  if (lines.length - 1 > limits.headerCountMax) {
    return refuse(431, "too-many-headers", `more than ${limits.headerCountMax} header fields`);
  }
  const seen = new Map<string, string>();
  for (const line of lines.slice(1)) {
    const field = HEADER_LINE.exec(line);
    if (field === null) return refuse(400, "bad-header", "a header field is not 'name: value' in printable ASCII");
    const name = (field[1] ?? "").toLowerCase();
    if (SINGLE.has(name) && seen.has(name)) return refuse(400, "repeated-header", `the header field '${name}' came twice`);
    seen.set(name, field[2] ?? "");
  }
  return checkFraming(seen, version === "1.1", limits);
}

/** Fields that decide who is asked, where the message ends, or who asks. */
const SINGLE: ReadonlySet<string> = new Set([
  "host",
  "content-length",
  "transfer-encoding",
  "content-type",
  "authorization",
  "expect",
]);

function checkFraming(fields: ReadonlyMap<string, string>, needsHost: boolean, limits: HttpLimits): HeadVerdict {
  if (needsHost && !fields.has("host")) return refuse(400, "no-host", "an HTTP/1.1 request needs a host header field");
  // RFC 9112 §3.2: an invalid value of host is answered with 400.
  if (!/^[A-Za-z0-9._:[\]-]*$/.test(fields.get("host") ?? "")) {
    return refuse(400, "bad-host", "the host header field is not host[:port]");
  }
  if (fields.has("transfer-encoding")) {
    return refuse(501, "transfer-encoding", "send the body with content-length, not with a transfer coding");
  }
  if (fields.has("expect")) return refuse(417, "expect", "expectations are not met here; send the body right away");
  const text = fields.get("content-length");
  if (text === undefined) return { kind: "ok", bodyBytes: 0 };
  if (!/^(?:0|[1-9][0-9]{0,14})$/.test(text)) return refuse(400, "bad-content-length", "content-length is not a number");
  const bodyBytes = Number(text);
  if (bodyBytes > limits.bodyBytesMax) return refuse(413, "body-too-large", `the body is longer than ${limits.bodyBytesMax} bytes`);
  return { kind: "ok", bodyBytes };
}

function refuse(status: number, code: string, why: string): HeadRefusal {
  return { kind: "refused", status, code, why };
}

/** Bytes as characters of the same number: no byte is lost or changed, so the expressions above see all of them. */
function latin1(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}
