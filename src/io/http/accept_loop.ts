/** Takes connections from a listening socket until it is closed, without ever letting one of them delay the next. */
import type { Poller, Watch } from "./poller.ts";

const EAGAIN = 11, EINTR = 4, ENFILE = 23, EMFILE = 24, ENOBUFS = 105, ENOMEM = 12, ECONNABORTED = 103;
/** Connections taken in one go before others get their turn. */
const BURST = 32;
/** The pause when descriptors or memory have run out: the backlog waits, nothing spins. */
const EXHAUSTED_MS = 100;

/**
 * Calls `onDescriptor` for each connection, with the peer's sockaddr at `poller.bounceAt`. Resolves when the listener was closed;
 * `onExhausted` hears that the process has no descriptors left.
 */
export async function acceptLoop(
  poller: Poller,
  listener: Watch,
  isClosed: () => boolean,
  onDescriptor: (fd: number) => void,
  onExhausted: () => void,
): Promise<void> {
  const { libc } = poller;
  for (let taken = 0; !isClosed();) {
    const fd = libc.accept(listener.fd, poller.bounceAt);
    if (fd >= 0) {
      onDescriptor(fd);
      if (++taken % BURST === 0) await pause(0);
    } else if (fd === -EAGAIN) {
      await listener.readable();
    } else if (fd === -EMFILE || fd === -ENFILE || fd === -ENOBUFS || fd === -ENOMEM) {
      onExhausted();
      await pause(EXHAUSTED_MS);
    } else if (fd !== -EINTR && fd !== -ECONNABORTED) {
      return;
    }
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
