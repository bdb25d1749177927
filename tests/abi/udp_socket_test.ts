/** UDP sockets of the reactor over the real C library: what leaves in trains comes as it was written. */
import { assert, assertEquals } from "@std/assert";
import { createArena, createLibc, LIBC_SCRATCH_BYTES } from "../../ffi/mod.ts";
import { ArenaLayout, Reactor, SOCKADDR_SLOT_BYTES, UdpSocket, type UdpSocketLimits, writeSockaddr } from "../../src/io/mod.ts";

const LIMITS: UdpSocketLimits = {
  receiveSlots: 16,
  receiveBatchesPerTurn: 4,
  sendTrains: 16,
  sendBufferBytes: 128 * 1024,
  kernelBufferBytes: 8 * 1024 * 1024,
};
const WAIT_MS = 20_000;

const arena = createArena(12 * 1024 * 1024);
const layout = new ArenaLayout(arena);
const libc = createLibc(arena, layout.reserve(LIBC_SCRATCH_BYTES));
const slot = layout.reserve(SOCKADDR_SLOT_BYTES);

/** A sender and a receiver on loopback; `heard` are the numbers in the first bytes of the packets, with each packet's length. */
class Pair implements Disposable {
  readonly heard: (readonly [number, number])[] = [];
  readonly #reactor = new Reactor(libc, layout, () => performance.now());
  readonly #from: UdpSocket;
  readonly #to: UdpSocket;
  #number = 0;

  constructor() {
    const here = { address: "127.0.0.1", port: 0 };
    this.#from = new UdpSocket(this.#reactor, layout, here, LIMITS, () => {}, () => {});
    const hear = (_: UdpSocket, offset: number, length: number) => void this.heard.push([arena.view.getUint16(offset), length]);
    this.#to = new UdpSocket(this.#reactor, layout, here, LIMITS, hear, () => {});
    writeSockaddr(arena, slot, this.#to.bound);
  }

  send(length: number): void {
    const at = this.#from.room(length);
    assert(at >= 0);
    arena.view.setUint16(at, this.#number++);
    this.#from.commit(length, slot);
  }

  flush(): void {
    this.#from.flush();
  }

  /** Turns until so many packets have come in all. */
  hear(packets: number): void {
    for (const deadline = performance.now() + WAIT_MS; this.heard.length < packets && performance.now() < deadline;) {
      this.#reactor.again();
      this.#reactor.turn();
    }
  }

  [Symbol.dispose](): void {
    this.#from.close();
    this.#to.close();
  }
}

Deno.test("more trains than leave in one call are sent as they were written, each once", () => {
  using pair = new Pair();
  const packets = LIMITS.sendTrains * 4;
  // Each is larger than the one before it, which ends a train.
  for (let i = 0; i < packets; i++) pair.send(10 + i);
  pair.flush();
  pair.hear(packets);
  assertEquals(pair.heard, Array.from({ length: packets }, (_, i) => [i, 10 + i] as const));
});

Deno.test("single packets that come after trains are read one and all", () => {
  using pair = new Pair();
  for (let i = 0; i < 40; i++) pair.send(1000);
  pair.flush();
  pair.hear(40);
  for (let i = 0; i < 60; i++) pair.send(10 + i);
  pair.flush();
  pair.hear(100);
  assertEquals(pair.heard.map(([number]) => number), Array.from({ length: 100 }, (_, i) => i));
  assertEquals(pair.heard.slice(40).map(([, length]) => length), Array.from({ length: 60 }, (_, i) => 10 + i));
});
