/**
 * The head of an HTTP CONNECT request, and the answers to it (RFC 9112 §3.2.3, RFC 9110 §9.3.6). Strict: whatever two parsers could
 * read in two ways is malformed. Nothing in the header fields changes what happens, so they are looked at for their form alone.
 */
import { parseHostPort } from "../../base/mod.ts";
import { type Malformed, malformed, type NeedBytes } from "./malformed.ts";
import type { ProxyTarget } from "./socks5.ts";

/** Heads of more bytes are malformed. */
export const CONNECT_HEAD_MAX_BYTES = 8_192;

export type ConnectHead =
  | { readonly kind: "connect"; readonly target: ProxyTarget; readonly length: number }
  /** A request of another method: answer 405. */
  | { readonly kind: "other-method"; readonly length: number };

const CR = 0x0d, LF = 0x0a, HTAB = 0x09, SPACE = 0x20, DELETE = 0x7f;
const END = [CR, LF, CR, LF] as const;
/** RFC 9110 §5.6.2. */
const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const REQUEST_LINE = new RegExp(`^(${TOKEN}) ([\\x21-\\x7e]+) HTTP/1\\.[01]$`);
const FIELD_LINE = new RegExp(`^${TOKEN}:[^\\r\\n]*$`);
const METHOD_MAX_BYTES = 32;

/** The head that begins at `offset`. While it is not whole, `need` is no more than what is missing for certain. */
export function decodeConnectHead(bytes: Uint8Array, offset: number, length: number): ConnectHead | NeedBytes | Malformed {
  const end = endOfHead(bytes, offset, length);
  const seen = end < 0 ? length : end;
  if (!isText(bytes, offset, seen)) return malformed("control-characters");
  if (end < 0) {
    if (!beginsLikeMethod(bytes, offset, length)) return malformed("first-byte");
    if (length >= CONNECT_HEAD_MAX_BYTES) return malformed("too-long");
    return { kind: "need", bytes: Math.min(length + END.length - matchedEnd(bytes, offset, length), CONNECT_HEAD_MAX_BYTES) };
  }
  if (end > CONNECT_HEAD_MAX_BYTES) return malformed("too-long");
  const [requestLine = "", ...fields] = latin1(bytes, offset, end - END.length).split("\r\n");
  const match = REQUEST_LINE.exec(requestLine);
  if (match === null) return malformed("first-byte");
  if (!fields.every((line) => FIELD_LINE.test(line))) return malformed("not-canonical");
  if (match[1] !== "CONNECT") return { kind: "other-method", length: end };
  const parsed = parseHostPort(match[2] ?? "");
  if (!parsed.ok) return malformed("address");
  return { kind: "connect", target: { host: parsed.value.host, port: parsed.value.port }, length: end };
}

/** The length of the head with its empty line, or -1. */
function endOfHead(bytes: Uint8Array, offset: number, length: number): number {
  const head = bytes.subarray(offset, offset + length);
  for (let at = head.indexOf(LF); at >= 0; at = head.indexOf(LF, at + 1)) {
    if (at >= 3 && head[at - 1] === CR && head[at - 2] === LF && head[at - 3] === CR) return at + 1;
  }
  return -1;
}

/** How much of the empty line stands at the end already. */
function matchedEnd(bytes: Uint8Array, offset: number, length: number): number {
  for (let count = Math.min(length, END.length - 1); count > 0; count--) {
    let i = 0;
    while (i < count && bytes[offset + length - count + i] === END[i]) i++;
    if (i === count) return count;
  }
  return 0;
}

/** Nothing but printable ASCII, tabs, and the ends of lines, which are CR LF always. */
function isText(bytes: Uint8Array, offset: number, length: number): boolean {
  for (let i = 0; i < length; i++) {
    const byte = bytes[offset + i] ?? 0;
    if (byte === CR) {
      if (i + 1 < length && bytes[offset + i + 1] !== LF) return false;
    } else if (byte === LF) {
      if (i === 0 || bytes[offset + i - 1] !== CR) return false;
    } else if (byte !== HTAB && (byte < SPACE || byte >= DELETE)) return false;
  }
  return true;
}

function beginsLikeMethod(bytes: Uint8Array, offset: number, length: number): boolean {
  const word = latin1(bytes, offset, Math.min(length, METHOD_MAX_BYTES)).split(" ")[0] ?? "";
  return word.length < METHOD_MAX_BYTES && /^[A-Z]*$/.test(word);
}

function latin1(bytes: Uint8Array, offset: number, length: number): string {
  let text = "";
  for (let i = 0; i < length; i++) text += String.fromCharCode(bytes[offset + i] ?? 0);
  return text;
}

/** What a proxy answers to CONNECT. */
export const CONNECT_ANSWERS = {
  200: "HTTP/1.1 200 Connection established\r\n\r\n",
  400: answer(400, "Bad Request"),
  403: answer(403, "Forbidden"),
  405: answer(405, "Method Not Allowed", "Allow: CONNECT\r\n"),
  502: answer(502, "Bad Gateway"),
} as const;
export type ConnectStatus = keyof typeof CONNECT_ANSWERS;

function answer(status: number, reason: string, fields = ""): string {
  return `HTTP/1.1 ${status} ${reason}\r\n${fields}Content-Length: 0\r\nConnection: close\r\n\r\n`;
}
