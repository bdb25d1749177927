/** Connection IDs and tokens on their way into a call: a few places in the arena, each for one of the call's arguments. */
import type { QuicheContext } from "./engine.ts";

const WORDS = 4, WORD_BYTES = 256;

/** Bytes of the engine's scratch that the places take. */
export const WORDS_BYTES = WORDS * WORD_BYTES;

/**
 * The address of a copy of `bytes`, at one of {@linkcode WORDS} places that are for the next call. To ask for the address of a short
 * array itself moves it out of V8's heap, which costs more than the call.
 */
export function wordAt({ arena, address, scratch }: QuicheContext, place: number, bytes: Uint8Array): bigint {
  if (bytes.length > WORD_BYTES) throw new Error("postern: internal error: a connection ID or token that no call takes");
  const at = scratch.words + place * WORD_BYTES;
  arena.bytes.set(bytes, at);
  return address.at(at);
}
