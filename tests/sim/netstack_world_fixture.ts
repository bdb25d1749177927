/**
 * A small world of two network stacks and one bad link between them, under a virtual clock: everything that happens follows
 * from one number. Packets are lost, doubled, delayed, overtaken and spoilt as the link's numbers say. What runs at its
 * ends is in `netstack_program_fixture.ts`.
 */
import { type PacketMemory, packetMemory, parseEnds } from "../../src/core/wire/mod.ts";
import {
  NetStack,
  type NetStackLimits,
  type NetStackOwner,
  type PacketPath,
  type SessionHandler,
  type TcpSession,
} from "../../src/core/netstack/mod.ts";

/** Numbers in [0, 1) that follow from a seed (mulberry32). */
export type Random = () => number;

export function randomFrom(seed: number): Random {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export interface LinkOptions {
  readonly delayMs: number;
  readonly jitterMs: number;
  /** Chances of a packet, each in [0, 1]. */
  readonly loss: number;
  readonly duplicate: number;
  readonly corrupt: number;
  /** Chance to be held back by up to `reorderMs`. */
  readonly reorder: number;
  readonly reorderMs: number;
  /** Bytes a millisecond, Infinity for none; what waits longer than `queueMs` is dropped. */
  readonly bytesPerMs: number;
  readonly queueMs: number;
}

export const CLEAN_LINK: LinkOptions = {
  delayMs: 5,
  jitterMs: 0,
  loss: 0,
  duplicate: 0,
  corrupt: 0,
  reorder: 0,
  reorderMs: 0,
  bytesPerMs: Infinity,
  queueMs: 100,
};

interface Flight {
  readonly atMs: number;
  readonly order: number;
  readonly to: World["client"];
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** What every buffer has at least. */
const BUFFER_MIN_BYTES = 4_096;

/** One side: a stack with one path. */
export interface Side {
  readonly stack: NetStack;
  readonly path: PacketPath;
}

export interface WorldOptions {
  readonly seed: number;
  readonly link?: Partial<LinkOptions>;
  readonly limits?: Partial<NetStackLimits>;
  readonly pathMaxBytes?: number;
  /** What answers a SYN at the server. */
  readonly onSyn: (session: TcpSession, world: World) => SessionHandler | null;
}

export class World {
  nowMs = 1_000;
  readonly random: Random;
  readonly client: Side;
  readonly server: Side;
  link: LinkOptions;
  /** Packets on the wire since the beginning, and the largest. */
  packets = 0;
  largestBytes = 0;
  /** Sees every packet that leaves, and may swallow it by returning false. */
  tap: ((from: Side, memory: PacketMemory, length: number) => boolean) | null = null;
  readonly #memory = packetMemory(70_000);
  readonly #flights: Flight[] = [];
  readonly #alarms: { atMs: number; order: number; run: () => void }[] = [];
  readonly #busyUntilMs = new Map<Side, number>();
  #order = 0;

  constructor(options: WorldOptions) {
    this.random = randomFrom(options.seed);
    this.link = { ...CLEAN_LINK, ...options.link };
    const limits = { synPerSourcePerSecondMax: 1_000_000, ...options.limits };
    const side = (onSyn: NetStackOwner["onSyn"]): Side => {
      const entropy = Uint8Array.from({ length: 16 }, () => Math.floor(this.random() * 256));
      const owner: NetStackOwner = {
        onSyn,
        onSynRefused: () => {},
        onFlow: () => null,
        answersEcho: () => true,
        onPathReady: () => {},
      };
      const stack = new NetStack(owner, { limits, entropy, holdsData: options.seed % 2 === 1 });
      return { stack, path: stack.openPath({ agentKey: "agent", maxBytes: options.pathMaxBytes ?? 1280 }) };
    };
    this.client = side(() => null);
    this.server = side((session) => options.onSyn(session, this));
  }

  /** Runs something at a later time. */
  after(delayMs: number, run: () => void): void {
    this.#alarms.push({ atMs: this.nowMs + delayMs, order: this.#order++, run });
  }

  connect(handler: SessionHandler, port: number, isIpv6 = false): TcpSession {
    const ends = isIpv6 ? parseEnds("fd00::1", "fd00::2") : parseEnds("100.64.0.1", "10.100.0.2");
    const session = ends && this.client.stack.connect(this.client.path, ends, port, 80, handler, this.nowMs);
    if (session === null) throw new Error("no session");
    return session;
  }

  /** Lets time pass until nothing happens any more, or `isDone`, or `limitMs` have passed; then false. */
  run(isDone: () => boolean, limitMs = 3_600_000): boolean {
    const endMs = this.nowMs + limitMs;
    for (;;) {
      this.#drain(this.client, this.server);
      this.#drain(this.server, this.client);
      if (isDone()) return true;
      const nextMs = this.#nextMs();
      if (nextMs === Infinity || nextMs > endMs) return false;
      this.nowMs = Math.max(this.nowMs, nextMs);
      this.#step();
    }
  }

  #nextMs(): number {
    let nextMs = Math.min(this.client.stack.nextTimeoutMs(), this.server.stack.nextTimeoutMs());
    const flight = this.#flights[0];
    if (flight !== undefined) nextMs = Math.min(nextMs, flight.atMs);
    for (const alarm of this.#alarms) nextMs = Math.min(nextMs, alarm.atMs);
    return nextMs;
  }

  #step(): void {
    for (let flight = this.#flights[0]; flight !== undefined && flight.atMs <= this.nowMs; flight = this.#flights[0]) {
      heapPop(this.#flights);
      this.#memory.bytes.set(flight.bytes, 64);
      flight.to.stack.handlePacket(flight.to.path, this.#memory, 64, flight.bytes.length, this.nowMs);
    }
    const due = this.#alarms.filter((alarm) => alarm.atMs <= this.nowMs).sort((a, b) => a.atMs - b.atMs || a.order - b.order);
    for (const alarm of due) {
      this.#alarms.splice(this.#alarms.indexOf(alarm), 1);
      alarm.run();
    }
    for (const { stack } of [this.client, this.server]) {
      stack.handleTimeout(this.nowMs);
      // The smallest buffers of a session are granted beyond the bound.
      const boundBytes = stack.limits.buffersTotalMaxBytes + 2 * BUFFER_MIN_BYTES * (stack.sessionCount + stack.timeWaitCount + 1);
      if (stack.bufferedBytes > boundBytes) throw new Error(`${stack.bufferedBytes} bytes of buffers`);
    }
  }

  #drain(from: Side, to: Side): void {
    from.stack.deliver(this.nowMs);
    for (;;) {
      const length = from.stack.pollPacket(from.path, this.#memory, 0, 65_535, this.nowMs);
      if (length === 0) return;
      if (length > from.path.maxBytes) throw new Error(`a packet of ${length} bytes on a path of ${from.path.maxBytes}`);
      this.packets++;
      this.largestBytes = Math.max(this.largestBytes, length);
      if (this.tap !== null && !this.tap(from, this.#memory, length)) continue;
      this.#send(from, to, length);
    }
  }

  #send(from: Side, to: Side, length: number): void {
    const { link, random } = this;
    let atMs = this.nowMs;
    if (link.bytesPerMs !== Infinity) {
      const startMs = Math.max(this.nowMs, this.#busyUntilMs.get(from) ?? 0);
      if (startMs - this.nowMs > link.queueMs) return;
      atMs = startMs + length / link.bytesPerMs;
      this.#busyUntilMs.set(from, atMs);
    }
    const copies = random() < link.loss ? 0 : random() < link.duplicate ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      const bytes = this.#memory.bytes.slice(0, length);
      if (random() < link.corrupt) {
        const bit = Math.floor(random() * length * 8);
        bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      }
      const heldMs = random() < link.reorder ? random() * link.reorderMs : 0;
      heapPush(this.#flights, { atMs: atMs + link.delayMs + random() * link.jitterMs + heldMs, order: this.#order++, to, bytes });
    }
  }
}

function isEarlier(a: Flight, b: Flight): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

function heapPush(heap: Flight[], flight: Flight): void {
  let at = heap.push(flight) - 1;
  while (at > 0) {
    const parent = (at - 1) >> 1;
    const above = heap[parent] as Flight;
    if (!isEarlier(flight, above)) break;
    heap[at] = above;
    at = parent;
  }
  heap[at] = flight;
}

function heapPop(heap: Flight[]): void {
  const last = heap.pop() as Flight;
  if (heap.length === 0) return;
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && isEarlier(heap[child + 1] as Flight, heap[child] as Flight)) child++;
    if (!isEarlier(heap[child] as Flight, last)) break;
    heap[at] = heap[child] as Flight;
    at = child;
  }
  heap[at] = last;
}
