/**
 * A bad path between one client and a server: what passes is lost, doubled or delayed behind what comes later, by chance but
 * with a seed; or a slow one, with a queue in front of each direction. It runs as a process of its own until a signal ends it, and prints the port to send to, then, when told to end,
 * what it did.
 *
 *   deno run -A tests/e2e/lossy_path.ts '{"to":"127.0.0.1:4433","loss":0.02,"duplicate":0.02,"reorder":0.02,"seed":7}'
 */
import { Timer } from "../../src/base/mod.ts";
import { ArenaLayout, Reactor, SOCKADDR_SLOT_BYTES, UdpSocket, writeSockaddr } from "../../src/io/mod.ts";
import { UPLINK_SOCKET } from "../../src/roles/uplink/mod.ts";
import { createArena, createLibc, LIBC_SCRATCH_BYTES } from "../../ffi/mod.ts";
import { randomFrom } from "../sim/netstack_world_fixture.ts";
import type { PathTrouble } from "./lossy_path_fixture.ts";
import { splitPort } from "./v1_agent_fixture.ts";

/** How long a packet is held back: enough for some others to overtake it. */
const HELD_MS = 4;
/** Packets that are held back at one time. */
const HELD_MAX = 256;

interface Held {
  readonly packet: Uint8Array;
  readonly dueMs: number;
}

/** One direction: where its packets leave, those that wait, and until when the line is busy with what was sent. */
class Direction {
  readonly held: Held[] = [];
  readonly #out: () => UdpSocket;
  readonly #to: number;
  readonly #timer = new Timer(() => this.#release());
  #busyUntilMs = 0;

  constructor(out: () => UdpSocket, to: number) {
    this.#out = out;
    this.#to = to;
  }

  /** Sends it when the line is free. False when too much waits already. */
  pass(packet: Uint8Array, heldMs: number): boolean {
    const { bytesPerSecond, queueBytes = Infinity, delayMs = 0 } = trouble;
    const { nowMs } = reactor;
    if (bytesPerSecond === undefined && heldMs === 0) {
      this.#send(packet);
      return true;
    }
    const msPerByte = bytesPerSecond === undefined ? 0 : 1_000 / bytesPerSecond;
    const beginMs = Math.max(nowMs, this.#busyUntilMs);
    if ((beginMs - nowMs) > queueBytes * msPerByte) return false;
    this.#busyUntilMs = beginMs + packet.length * msPerByte;
    const dueMs = this.#busyUntilMs + delayMs + heldMs;
    this.held.push({ packet: Uint8Array.from(packet), dueMs });
    if (this.held.length === 1) reactor.setTimer(this.#timer, dueMs);
    return true;
  }

  #release(): void {
    while (this.held[0] !== undefined && this.held[0].dueMs <= reactor.nowMs + 0.5) this.#send((this.held.shift() as Held).packet);
    if (this.held[0] !== undefined) reactor.setTimer(this.#timer, this.held[0].dueMs);
  }

  #send(packet: Uint8Array): void {
    const out = this.#out();
    const at = out.room(packet.length);
    if (at < 0) return;
    arena.bytes.set(packet, at);
    out.commit(packet.length, this.#to);
  }
}

const trouble = JSON.parse(Deno.args[0] ?? "{}") as PathTrouble & { readonly to: string };
const random = randomFrom(trouble.seed);
const arena = createArena(16 * 1024 * 1024);
const layout = new ArenaLayout(arena);
const libc = createLibc(arena, layout.reserve(LIBC_SCRATCH_BYTES));
const reactor = new Reactor(libc, layout, () => performance.now());
const serverSlot = layout.reserve(SOCKADDR_SLOT_BYTES), clientSlot = layout.reserve(SOCKADDR_SLOT_BYTES);
const [address, port] = splitPort(trouble.to);
writeSockaddr(arena, serverSlot, { address, port });
const up = new Direction(() => back, serverSlot), down = new Direction(() => front, clientSlot);
const counts = { passed: 0, lost: 0, doubled: 0, delayed: 0 };

const front = open((offset, length, from) => {
  arena.bytes.copyWithin(clientSlot, from, from + SOCKADDR_SLOT_BYTES);
  pass(up, offset, length);
});
const back = open((offset, length) => pass(down, offset, length));

function open(onPacket: (offset: number, length: number, from: number) => void): UdpSocket {
  const loopback = { address: "127.0.0.1", port: 0 };
  return new UdpSocket(reactor, layout, loopback, UPLINK_SOCKET, (_socket, offset, length, from) => {
    onPacket(offset, length, from);
  }, () => {});
}

function pass(direction: Direction, offset: number, length: number): void {
  counts.passed++;
  const packet = arena.bytes.subarray(offset, offset + length);
  const isHeld = random() < trouble.reorder && direction.held.length < HELD_MAX;
  if (random() < trouble.loss || !direction.pass(packet, isHeld ? HELD_MS : 0)) {
    counts.lost++;
    return;
  }
  if (isHeld) counts.delayed++;
  else if (random() < trouble.duplicate) {
    counts.doubled++;
    direction.pass(packet, 0);
  }
}

reactor.onTurnEnd(() => {
  front.flush();
  back.flush();
});
console.log(JSON.stringify({ port: front.bound.port }));
// The loop blocks, so a signal would end it without a word: a test that wants the counts reads the last line.
let saidMs = 0;
for (;;) {
  reactor.turn();
  if (reactor.nowMs - saidMs > 200) {
    saidMs = reactor.nowMs;
    console.log(JSON.stringify(counts));
  }
}
