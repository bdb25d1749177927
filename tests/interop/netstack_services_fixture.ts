/** The programs that the kernel's clients talk to in netstack_kernel_test.ts, by port. */
import { createHash } from "node:crypto";
import type { NetStack, SessionHandler, TcpSession } from "../../src/core/netstack/mod.ts";

/** What a service needs of the bench around it. */
export interface ServiceBench {
  readonly stack: NetStack;
  /** How sessions ended, in order. */
  readonly ends: string[];
  /** Something was said to the stack outside of its calls. */
  pump(): void;
}

/** What waits to be written to a session, as far as that takes it. */
class Outbox {
  waitingBytes = 0;
  readonly #waiting: Uint8Array<ArrayBuffer>[] = [];
  readonly #stack: NetStack;
  readonly #session: TcpSession;
  #isEnding = false;

  constructor(stack: NetStack, session: TcpSession) {
    this.#stack = stack;
    this.#session = session;
  }

  put(bytes: Uint8Array<ArrayBuffer>): void {
    this.#waiting.push(bytes);
    this.waitingBytes += bytes.length;
    this.flush();
  }

  end(): void {
    this.#isEnding = true;
    this.flush();
  }

  flush(): void {
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      const memory = { bytes: first, view: new DataView(first.buffer, first.byteOffset, first.length) };
      const taken = this.#stack.write(this.#session, memory, 0, first.length, performance.now());
      this.waitingBytes -= taken;
      if (taken < first.length) {
        this.#waiting[0] = first.subarray(taken);
        return;
      }
      this.#waiting.shift();
    }
    if (this.#isEnding) this.#stack.shutdownWrite(this.#session, performance.now());
  }
}

/** A service that takes everything, answers the end with its own, and notes how it ended; the rest is in `parts`. */
function service(bench: ServiceBench, outbox: Outbox, parts: Partial<SessionHandler>): SessionHandler {
  return {
    onOpen: () => {},
    onData: (_session, _memory, _offset, length) => length,
    onFin: () => outbox.end(),
    onWritable: () => outbox.flush(),
    onClosed: (session, why) => bench.ends.push(`${session.localPort} ${why}`),
    ...parts,
  };
}

/** Sends back what comes. No more than a little waits here: the window closes, and opens when that was written. */
function echo(bench: ServiceBench, session: TcpSession): SessionHandler {
  const outbox = new Outbox(bench.stack, session);
  return service(bench, outbox, {
    onData: (_session, memory, offset, length) => {
      if (outbox.waitingBytes > 100_000) return 0;
      outbox.put(memory.bytes.slice(offset, offset + length));
      return length;
    },
    onWritable: () => {
      outbox.flush();
      bench.stack.windowOpened(session, performance.now());
    },
  });
}

/** Hashes what comes, and says so after the peer's end; slowly, if told. */
function sink(bench: ServiceBench, session: TcpSession, isSlow: boolean): SessionHandler {
  const outbox = new Outbox(bench.stack, session);
  const hash = createHash("sha256");
  let isResting = false;
  let count = 0;
  const rest = () => {
    isResting = true;
    setTimeout(() => {
      isResting = false;
      bench.stack.windowOpened(session, performance.now());
      bench.pump();
    }, 1);
  };
  return service(bench, outbox, {
    onData: (_session, memory, offset, length) => {
      if (isResting) return 0;
      hash.update(memory.bytes.subarray(offset, offset + length));
      count += length;
      if (isSlow) rest();
      return length;
    },
    onFin: () => {
      outbox.put(new TextEncoder().encode(`${count} ${hash.digest("hex")}`));
      outbox.end();
    },
  });
}

/** Sends as many bytes of the pattern as the first four bytes ask for, then ends. */
function source(bench: ServiceBench, session: TcpSession): SessionHandler {
  const outbox = new Outbox(bench.stack, session);
  let asked = 0, askedBytes = 0;
  return service(bench, outbox, {
    onData: (_session, memory, offset, length) => {
      for (let i = 0; i < length && askedBytes < 4; i++, askedBytes++) asked = asked * 256 + (memory.bytes[offset + i] ?? 0);
      if (askedBytes < 4) return length;
      outbox.put(Uint8Array.from({ length: asked }, (_, i) => ((i % 251) * 31 + 2) & 0xff));
      outbox.end();
      return length;
    },
    onFin: () => {},
  });
}

/** Ends its direction at once and takes what still comes. */
function firstToEnd(bench: ServiceBench, session: TcpSession): SessionHandler {
  const outbox = new Outbox(bench.stack, session);
  let count = 0;
  return service(bench, outbox, {
    onOpen: () => {
      outbox.put(new TextEncoder().encode("bye"));
      outbox.end();
    },
    onData: (_session, _memory, _offset, length) => {
      count += length;
      return length;
    },
    onFin: () => {
      bench.ends.push(`84 received ${count}`);
    },
  });
}

function resetting(bench: ServiceBench, session: TcpSession): SessionHandler {
  return service(bench, new Outbox(bench.stack, session), {
    onData: (_session, _memory, _offset, length) => {
      bench.stack.abort(session, performance.now());
      return length;
    },
  });
}

export const SERVICES: Readonly<Record<number, (bench: ServiceBench, session: TcpSession) => SessionHandler>> = {
  80: echo,
  81: (bench, session) => sink(bench, session, false),
  82: source,
  83: (bench, session) => sink(bench, session, true),
  84: firstToEnd,
  85: resetting,
};
