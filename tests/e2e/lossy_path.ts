/**
 * A bad path between one client and a server: what passes is lost, doubled or delayed behind what comes later, by chance but
 * with a seed; or a slow one, with a queue in front of each direction. Like a NAT that forgets, it may give the client another address
 * from time to time, and it may fall dark for a while. It runs as a process of its own until a signal ends it, and prints the port to
 * send to, then again and again what it did.
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
/** Addresses that the client is given in turn. */
const REBIND_ADDRESSES = 6;

interface Held {
  readonly packet: Uint8Array;
  readonly dueMs: number;
}

/** One direction: where its packets leave, those that wait, and until when the line is busy with what was sent. */
class Direction {
  readonly held: Held[] = [];
  readonly loss: number;
  readonly #out: () => UdpSocket;
  readonly #to: number;
  readonly #timer = new Timer(() => this.#release());
  #busyUntilMs = 0;

  constructor(out: () => UdpSocket, to: number, loss: number) {
    this.loss = loss;
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
const arena = createArena(32 * 1024 * 1024);
const layout = new ArenaLayout(arena);
const libc = createLibc(arena, layout.reserve(LIBC_SCRATCH_BYTES));
const reactor = new Reactor(libc, layout, () => performance.now());
const serverSlot = layout.reserve(SOCKADDR_SLOT_BYTES), clientSlot = layout.reserve(SOCKADDR_SLOT_BYTES);
const [address, port] = splitPort(trouble.to);
writeSockaddr(arena, serverSlot, { address, port });
const { loss = 0, duplicate = 0, reorder = 0, rebindEveryMs, dark } = trouble;
const up = new Direction(() => backs[current] as UdpSocket, serverSlot, trouble.lossUp ?? loss);
const down = new Direction(() => front, clientSlot, trouble.lossDown ?? loss);
const counts = { passed: 0, lost: 0, doubled: 0, delayed: 0, rebinds: 0, darkened: 0 };

const front = open((_socket, offset, length, from) => {
  arena.bytes.copyWithin(clientSlot, from, from + SOCKADDR_SLOT_BYTES);
  pass(up, offset, length);
});
/** Those that the server sees, one at a time: what it sends to an earlier one is lost. */
const backs = Array.from({ length: rebindEveryMs === undefined ? 1 : REBIND_ADDRESSES }, () =>
  open((socket, offset, length) => {
    if (socket === backs[current]) pass(down, offset, length);
    else counts.lost++;
  }));
let current = 0;
let lightBytes = 0, darkUntilMs = 0;

function open(onPacket: (socket: UdpSocket, offset: number, length: number, from: number) => void): UdpSocket {
  return new UdpSocket(reactor, layout, { address: "127.0.0.1", port: 0 }, UPLINK_SOCKET, onPacket, () => {});
}

const rebinding = new Timer((nowMs) => {
  counts.rebinds++;
  current = (current + 1) % backs.length;
  reactor.setTimer(rebinding, nowMs + (rebindEveryMs ?? 0));
});
if (rebindEveryMs !== undefined) reactor.setTimer(rebinding, reactor.nowMs + rebindEveryMs);

/** Whether nothing passes now; darkness falls amid what is on its way. */
function isDark(length: number): boolean {
  if (dark === undefined) return false;
  if (reactor.nowMs < darkUntilMs) return true;
  lightBytes += length;
  if (lightBytes < dark.afterBytes || counts.darkened >= (dark.times ?? Infinity)) return false;
  counts.darkened++;
  lightBytes = 0;
  darkUntilMs = reactor.nowMs + dark.forMs;
  return true;
}

function pass(direction: Direction, offset: number, length: number): void {
  counts.passed++;
  const packet = arena.bytes.subarray(offset, offset + length);
  const isHeld = random() < reorder && direction.held.length < HELD_MAX;
  if (random() < direction.loss || isDark(length) || !direction.pass(packet, isHeld ? HELD_MS : 0)) {
    counts.lost++;
    return;
  }
  if (isHeld) counts.delayed++;
  else if (random() < duplicate) {
    counts.doubled++;
    direction.pass(packet, 0);
  }
}

reactor.onTurnEnd(() => {
  front.flush();
  for (const back of backs) back.flush();
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
