/**
 * What is left of a stream on a connection that has ended: the peer may have said everything, the end included, before it closed, and
 * then nothing is missing though the connection is gone.
 */
import type { Engine, EngineConnection } from "./engine.ts";

/**
 * Reads a stream to its end into memory of its own; null when the end is not there, and then the stream was cut. Flow control bounds
 * it: no more than the stream's window was ever taken in.
 *
 * @param scratchAt offset of `scratchBytes` bytes of the arena that are used within this call only
 */
export function readRest(
  engine: Engine,
  connection: EngineConnection,
  stream: number,
  scratchAt: number,
  scratchBytes: number,
): Uint8Array | null {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for (;;) {
    const count = connection.streamRecv(stream, scratchAt, scratchBytes);
    if (count < 0) return null;
    chunks.push(engine.arena.bytes.slice(scratchAt, scratchAt + count));
    length += count;
    if (engine.streamFin) break;
  }
  const rest = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    rest.set(chunk, at);
    at += chunk.length;
  }
  return rest;
}
