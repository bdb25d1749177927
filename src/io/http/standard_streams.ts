/** Standard input and output joined to a connection: what a command is that other programs speak through. */
import { type ByteStream, StreamClosed } from "./stream.ts";

const CHUNK_BYTES = 65_536;

/** The two ends of a process's standard streams. */
export interface StandardStreams {
  /** Null at the end. */
  readonly read: (into: Uint8Array<ArrayBuffer>) => Promise<number | null>;
  readonly write: (bytes: Uint8Array<ArrayBuffer>) => Promise<number>;
  readonly closeWrite: () => void;
}

/**
 * Moves bytes both ways. An end of standard input ends that direction only. Resolves when the connection has ended and all that it
 * said is written; never rejects: a reader that is gone closes the connection.
 */
export async function joinStandardStreams(stream: ByteStream, standard: StandardStreams): Promise<void> {
  // Nothing tells a pending read of standard input to stop: it is left behind.
  sendAll(stream, standard).catch(() => stream.close());
  const chunk = new Uint8Array(CHUNK_BYTES);
  try {
    for (let count; (count = await stream.read(chunk)) > 0;) {
      for (let at = 0; at < count;) at += await standard.write(chunk.subarray(at, count));
    }
    standard.closeWrite();
  } catch (error) {
    stream.close();
    const isOver = error instanceof StreamClosed || error instanceof Deno.errors.BrokenPipe;
    if (!isOver) throw error;
  }
}

async function sendAll(stream: ByteStream, standard: StandardStreams): Promise<void> {
  const chunk = new Uint8Array(CHUNK_BYTES);
  for (let count; (count = await standard.read(chunk)) !== null;) await stream.write(chunk.subarray(0, count));
  await stream.closeWrite();
}
