/** Reading and writing TCP connections whole: what the demonstration's client and its service share. */
import { createHash } from "node:crypto";

/** Taken from a socket at once: few calls for many bytes. */
const READ_BYTES = 256 * 1024;

/** Writes all of `bytes`. */
export async function writeAll(connection: Deno.TcpConn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
}

/** Reads until exactly `length` bytes are there. Throws when the connection ends before. */
export async function readExactly(connection: Deno.TcpConn, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length;) {
    const count = await connection.read(bytes.subarray(at));
    if (count === null) throw new Error(`the connection ended after ${at} of ${length} bytes`);
    at += count;
  }
  return bytes;
}

/** Reads to the end, at most `maxBytes`; more is an error. */
export async function readToEnd(connection: Deno.TcpConn, maxBytes: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(maxBytes + 1);
  let length = 0;
  for (let count; (count = await connection.read(bytes.subarray(length))) !== null;) {
    length += count;
    if (length > maxBytes) throw new Error(`the answer is longer than ${maxBytes} bytes`);
  }
  return bytes.slice(0, length);
}

/** What {@linkcode digestToEnd} keeps of a stream. */
export interface Digest {
  readonly bytes: number;
  /** Hexadecimal. */
  readonly sha256: string;
}

/** Reads to the end and keeps only count and digest, of `first` too, which was read before. `onBytes` is told the count so far. */
export async function digestToEnd(
  connection: Deno.TcpConn,
  first: Uint8Array = new Uint8Array(0),
  onBytes: (total: number) => void = () => {},
): Promise<Digest> {
  const hash = createHash("sha256").update(first);
  const buffer = new Uint8Array(READ_BYTES);
  let bytes = first.length;
  for (let count; (count = await connection.read(buffer)) !== null;) {
    hash.update(buffer.subarray(0, count));
    onBytes(bytes += count);
  }
  return { bytes, sha256: hash.digest("hex") };
}
