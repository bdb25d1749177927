/** A connection as a stream of bytes in both directions, and the clock that ends one that is too slow. */

/** One connection. At most one read and one write may be pending. Closing makes them reject with {@linkcode StreamClosed}. */
export interface ByteStream {
  /** Waits for at least one byte and returns the count; 0 when the peer will send no more. */
  read(into: Uint8Array<ArrayBuffer>): Promise<number>;
  /** Resolves when all bytes were handed to the kernel. */
  write(bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  /** Says that nothing more will be written; reading goes on. */
  closeWrite(): Promise<void>;
  /** Releases everything at once. May be called again. */
  close(): void;
  readonly isClosed: boolean;
}

/** Why a pending read or write did not finish. */
export class StreamClosed extends Error {
  constructor(why: string) {
    super(why);
    this.name = "StreamClosed";
  }
}

/** Closes a stream when it misses the deadline that was set last. */
export class Deadline {
  readonly #stream: ByteStream;
  #timer: number | null = null;
  #missed = false;

  constructor(stream: ByteStream) {
    this.#stream = stream;
  }

  /** Whether the stream was closed by this deadline. */
  get missed(): boolean {
    return this.#missed;
  }

  /** From now on. Replaces an earlier deadline. */
  set(afterMs: number): void {
    this.clear();
    this.#timer = setTimeout(() => {
      this.#missed = true;
      this.#stream.close();
    }, afterMs);
  }

  clear(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }
}
