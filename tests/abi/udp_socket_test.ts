/** UDP sockets of the reactor over the real C library: what leaves in trains comes as it was written, and nobody waits for all of it. */
import { assert, assertEquals } from "@std/assert";
import { createArena, createLibc, LIBC_SCRATCH_BYTES } from "../../ffi/mod.ts";
import {
  ArenaLayout,
  type ArrivalLimits,
  Reactor,
  SOCKADDR_SLOT_BYTES,
  UdpSocket,
  type UdpSocketLimits,
  writeSockaddr,
} from "../../src/io/mod.ts";

const LIMITS: UdpSocketLimits = {
  receiveSlots: 16,
  receiveBatchesPerTurn: 4,
  sendTrains: 16,
  sendBufferBytes: 128 * 1024,
  kernelBufferBytes: 8 * 1024 * 1024,
};
const WAIT_MS = 20_000;
/** A turn takes five packets, and a sender has its turn for some fifty before another's. */
const ARRIVALS: ArrivalLimits = { trains: 32, singles: 64, turnBytes: 6_000, salt: 7 };
/** Little is kept. */
const FEW: ArrivalLimits = { ...ARRIVALS, singles: 32 };
const FLOOD_BYTES = 1_200;

const arena = createArena(64 * 1024 * 1024);
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

/** One that floods, one with little to send, and who hears both; `heard` are names with numbers. */
class Crowd implements Disposable {
  readonly heard: string[] = [];
  readonly to: UdpSocket;
  readonly #reactor = new Reactor(libc, layout, () => performance.now());
  readonly #flooding: UdpSocket;
  readonly #modest: UdpSocket;

  constructor(arrivals: ArrivalLimits) {
    const here = { address: "127.0.0.1", port: 0 };
    this.#flooding = new UdpSocket(this.#reactor, layout, here, LIMITS, () => {}, () => {});
    this.#modest = new UdpSocket(this.#reactor, layout, here, LIMITS, () => {}, () => {});
    const hear = (_: UdpSocket, offset: number) => {
      this.heard.push(`${arena.bytes[offset] === 1 ? "modest" : "flood"} ${arena.view.getUint16(offset + 1)}`);
    };
    this.to = new UdpSocket(this.#reactor, layout, here, { ...LIMITS, arrivals }, hear, () => {});
  }

  flood(count: number, { train }: { readonly train: number }): void {
    for (let i = 0; i < count; i++) this.#send(this.#flooding, 0, i, FLOOD_BYTES, (i + 1) % train === 0);
  }

  ask(count: number): void {
    for (let i = 0; i < count; i++) this.#send(this.#modest, 1, i, 100, true);
  }

  /** Turns until nothing comes any more. */
  hearAll(packets: number): void {
    for (const deadline = performance.now() + WAIT_MS; performance.now() < deadline;) {
      if (this.heard.length + this.to.arrivalsDropped >= packets) return;
      this.#reactor.again();
      this.#reactor.turn();
    }
  }

  of(name: string): number[] {
    return this.heard.filter((text) => text.startsWith(name)).map((text) => Number(text.split(" ")[1]));
  }

  #send(from: UdpSocket, who: number, number: number, length: number, isLast: boolean): void {
    writeSockaddr(arena, slot, this.to.bound);
    const at = from.room(length);
    assert(at >= 0);
    arena.bytes[at] = who;
    arena.view.setUint16(at + 1, number);
    from.commit(length, slot);
    if (isLast) from.flush();
  }

  [Symbol.dispose](): void {
    for (const socket of [this.#flooding, this.#modest, this.to]) socket.close();
  }
}

for (const { kind, count, train } of [{ kind: "single packets", count: 60, train: 1 }, { kind: "trains", count: 120, train: 20 }]) {
  Deno.test(`a packet is not behind all that another sender has sent: ${kind}`, () => {
    using crowd = new Crowd(ARRIVALS);
    crowd.flood(count, { train });
    crowd.ask(3);
    crowd.hearAll(count + 3);
    assertEquals(crowd.of("flood"), Array.from({ length: count }, (_, i) => i));
    assertEquals(crowd.of("modest"), [0, 1, 2]);
    // What the turn took at once, and one round.
    assert(crowd.heard.indexOf("modest 2") < 20 + 54 + 3 && crowd.heard.indexOf("modest 2") < count, crowd.heard.join(", "));
    assertEquals(crowd.to.arrivalsDropped, 0);
  });
}

Deno.test("who sends more than is kept for it loses its oldest packets, the others none", () => {
  using crowd = new Crowd(FEW);
  const count = FEW.singles + 100;
  crowd.flood(count, { train: 1 });
  crowd.ask(10);
  crowd.hearAll(count + 10);
  assertEquals(crowd.of("modest"), Array.from({ length: 10 }, (_, i) => i));
  const flood = crowd.of("flood");
  assertEquals(flood, flood.toSorted((a, b) => a - b));
  assertEquals([flood.at(-1), flood.length], [count - 1, count - crowd.to.arrivalsDropped]);
  assert(crowd.to.arrivalsDropped > 0 && crowd.to.arrivalsDropped <= count - FEW.singles / 2, `${crowd.to.arrivalsDropped}`);
});
