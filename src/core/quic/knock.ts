/**
 * Asks whether the peer still knows a connection, held back by nothing: neither by congestion nor by the pause that grows with every
 * packet in vain. Who knows the connection cannot read this packet and throws it away; who has lost it, as a server that was started
 * anew, answers with a stateless reset (RFC 9000 §10.3).
 */
import type { Connection } from "./connection.ts";
import type { Engine } from "./engine.ts";

/** Long enough for the longest ID and for a reset, which is shorter than what it answers. */
const KNOCK_BYTES = 64;
/** The first byte of a packet of the short form (RFC 9000 §17.3.1). */
const SHORT_HEADER = 0x43;

/** `entropy` fills an array with unpredictable bytes. */
export function knock(engine: Engine, connection: Connection, entropy: (bytes: Uint8Array) => void): void {
  if (connection.isOver || connection.isFreed || !connection.isEstablished) return;
  const { path } = connection;
  const { arena: { bytes }, sendTo } = engine;
  const at = path.room(KNOCK_BYTES);
  if (at < 0 || !connection.engine.peerAddress(sendTo)) return;
  entropy(bytes.subarray(at, at + KNOCK_BYTES));
  bytes[at] = SHORT_HEADER;
  bytes.set(connection.engine.destinationId(), at + 1);
  path.commit(KNOCK_BYTES, sendTo);
  path.flush();
}
