/**
 * Bytes as text, and bytes compared: hexadecimal, equality, order, equality in constant time. No copies but where a new
 * array is the result. Not here: numbers in bytes (each codec reads its own) and the secrets' own type.
 */

const HEX_DIGITS = "0123456789abcdef";

/** Lower-case hexadecimal of all of `bytes`, two digits a byte, no separators. */
export function toHex(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += HEX_DIGITS.charAt(byte >> 4) + HEX_DIGITS.charAt(byte & 15);
  return text;
}

/** The bytes of a hexadecimal text of either case, or null when it has an odd length or anything but hexadecimal digits. */
export function fromHex(text: string): Uint8Array<ArrayBuffer> | null {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) return null;
  const bytes = new Uint8Array(text.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}

/** Whether both have the same length and content. Not for secrets: see {@linkcode constantTimeEqual}. */
export function bytesEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && bytesEqualAt(a, 0, b, 0, a.length);
}

/** Whether `length` bytes of `a` from `aOffset` are those of `b` from `bOffset`. A range that leaves its array is not equal. */
export function bytesEqualAt(a: Uint8Array, aOffset: number, b: Uint8Array, bOffset: number, length: number): boolean {
  if (aOffset + length > a.length || bOffset + length > b.length) return false;
  for (let i = 0; i < length; i++) {
    if (a[aOffset + i] !== b[bOffset + i]) return false;
  }
  return true;
}

/** Below zero, zero or above zero as `a` sorts before, with or after `b`: byte by byte, a prefix before what it begins. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

/**
 * Whether both have the same length and content, in a time that depends on the length alone: for keys, tags and tokens.
 * The length is not hidden.
 */
export function constantTimeEqual(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= (a[i] ?? 0) ^ (b[i] ?? 0);
  return difference === 0;
}

/** One new array with the content of all parts in order. */
export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  let length = 0;
  for (const part of parts) length += part.length;
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

const textEncoder = new TextEncoder();

/**
 * Writes `text` as UTF-8 from `offset` on and returns its length in bytes, or -1 when it has more than `maxBytes` of them or
 * does not fit in the array; then nothing is written. A lone surrogate becomes U+FFFD: refuse such text earlier.
 */
export function writeUtf8(text: string, bytes: Uint8Array, offset: number, maxBytes: number): number {
  // Not `encodeInto`: in Deno 2.6.10 its `read` is wrong for texts of U+0080 to U+00FF once the call is optimised.
  const encoded = textEncoder.encode(text);
  if (encoded.length > maxBytes || offset + encoded.length > bytes.length) return -1;
  bytes.set(encoded, offset);
  return encoded.length;
}
