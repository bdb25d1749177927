/**
 * A {@linkcode ByteStream} inside TLS: the TLS end turns bytes, the stream below carries them. Reading and writing may go on at the
 * same time; what either leaves in the outgoing ring is flushed by one writer.
 */
import { type TlsEnd, TlsResult } from "../tls_end.ts";
import { LINGER_BYTES_MAX } from "./limits.ts";
import { type ByteStream, StreamClosed } from "./stream.ts";

/** The TLS end holds more than two records; this much always fits after it asked for more. */
const CIPHERTEXT_BYTES = 16_384;

export class TlsStream implements ByteStream {
  readonly end: TlsEnd;
  readonly #inner: ByteStream;
  readonly #incoming = new Uint8Array(CIPHERTEXT_BYTES);
  readonly #outgoing = new Uint8Array(CIPHERTEXT_BYTES);
  #flushing: Promise<void> | null = null;
  #closed = false;
  #bytesSent = 0;
  #bytesReceived = 0;
  #lastActivityMs = Date.now();

  constructor(inner: ByteStream, end: TlsEnd) {
    this.#inner = inner;
    this.end = end;
  }

  get isClosed(): boolean {
    return this.#closed || this.#inner.isClosed;
  }

  /** Ciphertext, handshake included. */
  get bytesSent(): number {
    return this.#bytesSent;
  }

  /** Ciphertext, handshake included. */
  get bytesReceived(): number {
    return this.#bytesReceived;
  }

  /** When bytes last moved either way, in milliseconds since 1970. */
  get lastActivityMs(): number {
    return this.#lastActivityMs;
  }

  /** Rejects with {@linkcode StreamClosed} when the peer is refused or leaves; the alert was sent, the reason is the end's. */
  async handshake(): Promise<void> {
    for (;;) {
      this.#checkOpen();
      const result = this.end.handshake();
      await this.#flush();
      if (result === 1) return;
      this.#checkOpen();
      if (result !== TlsResult.wants) throw new StreamClosed(this.end.failure());
      await this.#take();
    }
  }

  async read(into: Uint8Array<ArrayBuffer>): Promise<number> {
    for (;;) {
      this.#checkOpen();
      const count = this.end.read(into);
      if (count > 0) return count;
      if (count === TlsResult.closed) return 0;
      // An alert or an answer to a key update may wait.
      await this.#flush();
      this.#checkOpen();
      if (count !== TlsResult.wants) throw new StreamClosed(this.end.failure());
      await this.#take();
    }
  }

  async write(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      this.#checkOpen();
      const count = this.end.write(bytes.subarray(at));
      if (count > 0) at += count;
      else if (count !== TlsResult.wants) throw new StreamClosed(this.end.failure());
      await this.#flush();
    }
  }

  async closeWrite(): Promise<void> {
    this.#checkOpen();
    this.end.shutdown();
    await this.#flush();
    await this.#inner.closeWrite();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#inner.close();
    this.end[Symbol.dispose]();
  }

  /** After a refusal: lets the alert reach a peer that still sends, by reading what it sends for a while. The caller sets a deadline. */
  async lingerAfterRefusal(): Promise<void> {
    await this.#inner.closeWrite();
    for (let read = 0; read < LINGER_BYTES_MAX;) {
      const count = await this.#inner.read(this.#incoming);
      if (count === 0) return;
      read += count;
    }
  }

  async #take(): Promise<void> {
    const count = await this.#inner.read(this.#incoming);
    this.#checkOpen();
    this.#bytesReceived += count;
    this.#lastActivityMs = Date.now();
    if (count === 0) this.end.feedEnd();
    else if (this.end.feed(this.#incoming.subarray(0, count)) < count) throw new StreamClosed("the TLS end took no more");
  }

  /** Writes out all ciphertext there is. A second caller waits for the first and then looks again. */
  async #flush(): Promise<void> {
    while (this.#flushing !== null) await this.#flushing;
    if (this.#closed || this.end.pendingBytes() === 0) return;
    this.#flushing = this.#drain();
    try {
      await this.#flushing;
    } finally {
      this.#flushing = null;
    }
  }

  async #drain(): Promise<void> {
    for (;;) {
      this.#checkOpen();
      const count = this.end.drain(this.#outgoing);
      if (count === 0) return;
      await this.#inner.write(this.#outgoing.subarray(0, count));
      this.#bytesSent += count;
      this.#lastActivityMs = Date.now();
    }
  }

  #checkOpen(): void {
    if (this.#closed) throw new StreamClosed("the connection was closed");
  }
}
