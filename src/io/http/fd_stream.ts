/** A {@linkcode ByteStream} over a connected, non-blocking socket. */
import { errnoText } from "../errno.ts";
import { BOUNCE_BYTES, type Poller, type Watch } from "./poller.ts";
import { type ByteStream, StreamClosed } from "./stream.ts";

const EAGAIN = 11, EINTR = 4;
const SHUT_WR = 1;

export class FdStream implements ByteStream {
  readonly #poller: Poller;
  readonly #watch: Watch;
  #closed = false;

  constructor(poller: Poller, watch: Watch) {
    this.#poller = poller;
    this.#watch = watch;
  }

  /** Takes the descriptor over; null (and closed) when it cannot be watched. */
  static open(poller: Poller, fd: number): FdStream | null {
    const watch = poller.watch(fd);
    if (watch === null) poller.libc.close(fd);
    return watch === null ? null : new FdStream(poller, watch);
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  async read(into: Uint8Array<ArrayBuffer>): Promise<number> {
    const { libc, bounceAt } = this.#poller;
    for (;;) {
      this.#checkOpen();
      const count = libc.recv(this.#watch.fd, bounceAt, Math.min(into.length, BOUNCE_BYTES));
      if (count >= 0) {
        into.set(libc.arena.bytes.subarray(bounceAt, bounceAt + count));
        return count;
      }
      if (count === -EAGAIN) await this.#watch.readable();
      else if (count !== -EINTR) throw this.#fail(count);
    }
  }

  async write(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const { libc, bounceAt } = this.#poller;
    for (let at = 0; at < bytes.length;) {
      this.#checkOpen();
      const piece = bytes.subarray(at, at + BOUNCE_BYTES);
      libc.arena.bytes.set(piece, bounceAt);
      const count = libc.send(this.#watch.fd, bounceAt, piece.length);
      if (count >= 0) at += count;
      else if (count === -EAGAIN) await this.#watch.writable();
      else if (count !== -EINTR) throw this.#fail(count);
    }
  }

  closeWrite(): Promise<void> {
    if (!this.#closed) this.#poller.libc.shutdown(this.#watch.fd, SHUT_WR);
    return Promise.resolve();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#poller.closeWatched(this.#watch);
  }

  #checkOpen(): void {
    if (this.#closed) throw new StreamClosed("the connection was closed");
  }

  #fail(result: number): StreamClosed {
    this.close();
    return new StreamClosed(errnoText(-result));
  }
}
