/**
 * Waits for many sockets with one call. The data plane's reactor blocks its thread in `epoll_wait`; the main isolate may not, so
 * here the same call runs in one thread of the runtime's pool and its answer arrives as a promise. Sockets are watched
 * edge-triggered: their owner reads or writes until the kernel says "not now", then waits for the next edge.
 */
import { assert } from "../../base/mod.ts";
import type { ArenaLayout } from "../arena.ts";
import type { Libc } from "../native.ts";
import { MACHINE } from "../native_machine.ts";
import type { ProcessNative } from "../native_process.ts";
import { EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP } from "../reactor.ts";

const EVENTS_MAX = 64;
const { epollEventBytes: EPOLL_EVENT_BYTES, epollTokenAt: EPOLL_TOKEN_AT } = MACHINE;
/** Bytes that one call moves between a socket and the isolate. */
export const BOUNCE_BYTES = 65_536;

/** Arena bytes that a {@linkcode Poller} reserves. */
export const POLLER_ARENA_BYTES = EVENTS_MAX * EPOLL_EVENT_BYTES + BOUNCE_BYTES + 256;

/** One watched descriptor. */
export class Watch {
  readonly fd: number;
  readonly token: number;
  #wakeReader: (() => void) | null = null;
  #wakeWriter: (() => void) | null = null;

  constructor(fd: number, token: number) {
    this.fd = fd;
    this.token = token;
  }

  /** Resolves at the next edge that allows reading. Call it right after the kernel said "not now". */
  readable(): Promise<void> {
    return new Promise((resolve) => this.#wakeReader = resolve);
  }

  /** Resolves at the next edge that allows writing. */
  writable(): Promise<void> {
    return new Promise((resolve) => this.#wakeWriter = resolve);
  }

  /** For the poller, and for whoever closes the descriptor: lets the waiting ones look again. */
  wake(events: number): void {
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP)) !== 0) {
      const wake = this.#wakeReader;
      this.#wakeReader = null;
      wake?.();
    }
    if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) !== 0) {
      const wake = this.#wakeWriter;
      this.#wakeWriter = null;
      wake?.();
    }
  }
}

export class Poller {
  readonly libc: Libc;
  readonly native: ProcessNative;
  /** {@linkcode BOUNCE_BYTES} of arena for one synchronous call at a time. */
  readonly bounceAt: number;
  readonly #epoll: number;
  readonly #eventsAt: number;
  readonly #wakeFd: number;
  readonly #watches = new Map<number, Watch>();
  readonly #ended: Promise<void>;
  #nextToken = 1;
  #closed = false;

  constructor(libc: Libc, native: ProcessNative, layout: ArenaLayout) {
    this.libc = libc;
    this.native = native;
    this.#eventsAt = layout.reserve(EVENTS_MAX * EPOLL_EVENT_BYTES);
    this.bounceAt = layout.reserve(BOUNCE_BYTES);
    this.#epoll = libc.epollCreate();
    this.#wakeFd = libc.eventfd();
    assert(this.#epoll >= 0 && this.#wakeFd >= 0, "the poller got no descriptors");
    libc.epollControl(this.#epoll, 1, this.#wakeFd, EPOLLIN, 0);
    this.#ended = this.#run();
  }

  /** Watches a non-blocking descriptor; null when the kernel refuses. */
  watch(fd: number): Watch | null {
    // Tokens are never used twice, so a late event of a closed descriptor finds nobody.
    const watch = new Watch(fd, this.#nextToken++);
    const added = this.libc.epollControl(this.#epoll, 1, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, watch.token);
    if (added < 0) return null;
    this.#watches.set(watch.token, watch);
    return watch;
  }

  /** Stops watching, closes the descriptor and lets its waiting ones look again. */
  closeWatched(watch: Watch): void {
    if (!this.#watches.delete(watch.token)) return;
    this.libc.epollControl(this.#epoll, 2, watch.fd, 0, watch.token);
    this.libc.close(watch.fd);
    watch.wake(EPOLLHUP);
  }

  /** How many descriptors are watched. */
  get size(): number {
    return this.#watches.size;
  }

  /** Closes every watched descriptor and ends the waiting call. */
  async close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      for (const watch of [...this.#watches.values()]) this.closeWatched(watch);
      this.libc.eventfdSignal(this.#wakeFd);
    }
    await this.#ended;
  }

  async #run(): Promise<void> {
    const { view } = this.libc.arena;
    while (!this.#closed) {
      // Below zero: interrupted by a signal (the errno is that of another thread). Nothing was lost; wait again.
      const count = await this.native.epollWaitLater(this.#epoll, this.#eventsAt, EVENTS_MAX, -1);
      for (let i = 0; i < count; i++) {
        const at = this.#eventsAt + i * EPOLL_EVENT_BYTES;
        this.#watches.get(view.getUint32(at + EPOLL_TOKEN_AT, true))?.wake(view.getUint32(at, true));
      }
    }
    this.libc.close(this.#wakeFd);
    this.libc.close(this.#epoll);
  }
}
