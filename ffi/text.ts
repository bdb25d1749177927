/** The library's way of giving bytes: it names their length, and gives them where there is room. */
import { PosternError } from "../src/base/mod.ts";

/** A C function `(…, out, cap)` with all but its last two parameters given. */
export type Giver = (out: Uint8Array<ArrayBuffer>, capacity: bigint) => number;

/** What the library gives out must fit in here: the longest is a peer's chain of certificates. */
const ANSWER_BYTES_MAX = 1 << 20;
/** Room for nearly every answer: what does not fit is asked for again, and made again. */
const ROOM = new Uint8Array(65_536);
const DECODER = new TextDecoder();

/** The whole answer, or null when the function failed. */
export function takeBytes(give: Giver): Uint8Array<ArrayBuffer> | null {
  const length = give(ROOM, BigInt(ROOM.length));
  if (length < 0 || length > ANSWER_BYTES_MAX) return null;
  if (length <= ROOM.length) return ROOM.slice(0, length);
  const bytes = new Uint8Array(length);
  return give(bytes, BigInt(length)) === length ? bytes : null;
}

/** The answer as text; "" when the function failed. */
export function takeText(give: Giver): string {
  const bytes = takeBytes(give);
  return bytes === null || bytes.length === 0 ? "" : DECODER.decode(bytes);
}

/** Splits a list of `u32` little-endian lengths and the bytes behind each. Throws when it does not come out even. */
export function splitList(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer>[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const items: Uint8Array<ArrayBuffer>[] = [];
  let offset = 0;
  while (offset < bytes.length) {
    const start = offset + 4;
    const end = start <= bytes.length ? start + view.getUint32(offset, true) : Infinity;
    if (end > bytes.length) throw new PosternError("the native library gave a broken list", { code: "native-answer" });
    items.push(bytes.slice(start, end));
    offset = end;
  }
  return items;
}
