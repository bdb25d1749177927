/** What the parts of the simulated kernel share: descriptors' files, who waits for them, and Linux's numbers. */

export const POLLIN = 0x001, POLLOUT = 0x004, POLLERR = 0x008, POLLHUP = 0x010, POLLRDHUP = 0x2000;
export const EINTR = 4, EBADF = 9, EAGAIN = 11, EINVAL = 22, EMFILE = 24, EPIPE = 32, ENOTSOCK = 88, EADDRINUSE = 98;

/** Something behind a descriptor. */
export interface SimFile {
  /** What poll(2) would say now. */
  poll(): number;
  readonly waiters: Waiters;
  /** The last descriptor is gone. */
  close(): void;
}

/** Who is told when a file's state changes. */
export class Waiters {
  readonly watches = new Set<Watch>();

  wake(): void {
    for (const watch of this.watches) watch.wake();
  }
}

/** One file in one epoll set. */
export interface Watch {
  readonly file: SimFile;
  events: number;
  token: number;
  wake(): void;
}
