/**
 * The bytes of one stream become signalling messages. What is not yet a whole frame waits here, never more than one frame;
 * a frame that is too long is skipped as it comes, without being kept (WIRE 6.1), and the stream goes on behind it.
 */

import type { ServiceIdOptions } from "../../base/mod.ts";
import { decodeSignal, type Malformed, SIGNAL_PAYLOAD_MAX_BYTES, type SignalMessage } from "../wire/mod.ts";

const LENGTH_BYTES = 4;
const FIRST_CAPACITY = 1024;

export class SignalReceiver {
  readonly #options: ServiceIdOptions;
  #buffer = new Uint8Array(0);
  #held = 0;
  /** Bytes of an overlong frame that are still to be skipped. */
  #skip = 0;

  constructor(options: ServiceIdOptions = {}) {
    this.#options = options;
  }

  /** Bytes that wait for the rest of their frame. */
  get held(): number {
    return this.#held;
  }

  /** Takes in what the stream brought and gives out the messages, and the frames that were none, in order. */
  handle(bytes: Uint8Array): (SignalMessage | Malformed)[] {
    const messages: (SignalMessage | Malformed)[] = [];
    let rest = bytes;
    while (rest.length > 0) {
      if (this.#skip > 0) {
        const skipped = Math.min(this.#skip, rest.length);
        this.#skip -= skipped;
        rest = rest.subarray(skipped);
        continue;
      }
      const wanted = this.#held < LENGTH_BYTES ? LENGTH_BYTES : LENGTH_BYTES + this.#payloadLength();
      const taken = rest.subarray(0, wanted - this.#held);
      this.#keep(taken);
      rest = rest.subarray(taken.length);
      const found = this.#frame();
      if (found !== null) messages.push(found);
    }
    return messages;
  }

  /** The message in the buffer if it holds a whole frame, and what is wrong with it if it cannot become one. */
  #frame(): SignalMessage | Malformed | null {
    if (this.#held < LENGTH_BYTES) return null;
    const length = this.#payloadLength();
    if (length === 0 || length > SIGNAL_PAYLOAD_MAX_BYTES) {
      this.#held = 0;
      this.#skip = length;
      return { kind: "malformed", why: length === 0 ? "empty" : "too-long" };
    }
    if (this.#held < LENGTH_BYTES + length) return null;
    this.#held = 0;
    const message = decodeSignal(this.#buffer, LENGTH_BYTES, length, this.#options);
    // A large frame is rare: its buffer is not kept for the life of the stream.
    if (this.#buffer.length > FIRST_CAPACITY) this.#buffer = new Uint8Array(0);
    return message;
  }

  #payloadLength(): number {
    return new DataView(this.#buffer.buffer).getUint32(0);
  }

  #keep(bytes: Uint8Array): void {
    const needed = this.#held + bytes.length;
    if (needed > this.#buffer.length) {
      const max = LENGTH_BYTES + SIGNAL_PAYLOAD_MAX_BYTES;
      const larger = new Uint8Array(Math.min(max, Math.max(FIRST_CAPACITY, needed, 2 * this.#buffer.length)));
      larger.set(this.#buffer.subarray(0, this.#held));
      this.#buffer = larger;
    }
    this.#buffer.set(bytes, this.#held);
    this.#held = needed;
  }
}
