/**
 * What is to be read on streams: which of them, and their bytes. quiche leaves the mark of an end in a stream that was read without room,
 * though it tells the end; without care the stream is named once more, when it is over for its reader or gone.
 */
import { EngineError } from "../../src/core/quic/engine.ts";
import { big } from "../address.ts";
import type { QuicheContext, QuicheLibrary } from "./engine.ts";

/** The next stream that has something to read, or -1. */
export function nextReadable(library: QuicheLibrary, connection: bigint): number {
  for (;;) {
    const stream = library.postern_conn_readable_next(connection);
    if (stream < 0 || library.quiche_conn_stream_capacity(connection, big(stream)) !== EngineError.invalidStreamState) {
      return stream;
    }
  }
}

/** As `EngineConnection.streamRecv`. */
export function readStream(
  library: QuicheLibrary,
  context: QuicheContext,
  connection: bigint,
  stream: bigint,
  at: bigint,
  capacity: number,
): number {
  const { scratch, arena } = context;
  const fin = scratch.valuesAddress;
  arena.view.setUint32(scratch.values, 0, true);
  const count = library.quiche_conn_stream_recv(connection, stream, at, big(capacity), fin, fin + 8n);
  context.streamFin = count >= 0 && arena.bytes[scratch.values] !== 0;
  if (count < -1) context.streamErrorCode = Number(arena.view.getBigUint64(scratch.values + 8, true));
  // Behind an end there is no byte: none is written to this address.
  if (context.streamFin && count === capacity) library.quiche_conn_stream_recv(connection, stream, at, 1n, fin, fin + 8n);
  return count;
}
