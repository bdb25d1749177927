/**
 * A bad path between one client and a server: what passes is lost, doubled or delayed behind what comes later, by chance but
 * with a seed. It runs as a process of its own until a signal ends it, and prints the port to send to, then, when told to end,
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
  readonly out: UdpSocket;
  readonly to: number;
  readonly packet: Uint8Array;
  readonly dueMs: number;
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
const held: Held[] = [];
const timer = new Timer(() => release());
const counts = { passed: 0, lost: 0, doubled: 0, delayed: 0 };

const front = open((offset, length, from) => {
  arena.bytes.copyWithin(clientSlot, from, from + SOCKADDR_SLOT_BYTES);
  pass(back, serverSlot, offset, length);
});
const back = open((offset, length) => pass(front, clientSlot, offset, length));

function open(onPacket: (offset: number, length: number, from: number) => void): UdpSocket {
  const loopback = { address: "127.0.0.1", port: 0 };
  return new UdpSocket(reactor, layout, loopback, UPLINK_SOCKET, (_socket, offset, length, from) => {
    onPacket(offset, length, from);
  }, () => {});
}

function pass(out: UdpSocket, to: number, offset: number, length: number): void {
  counts.passed++;
  if (random() < trouble.loss) {
    counts.lost++;
    return;
  }
  if (random() < trouble.reorder && held.length < HELD_MAX) {
    counts.delayed++;
    held.push({ out, to, packet: arena.bytes.slice(offset, offset + length), dueMs: reactor.nowMs + HELD_MS });
    if (held.length === 1) reactor.setTimer(timer, reactor.nowMs + HELD_MS);
    return;
  }
  send(out, to, arena.bytes.subarray(offset, offset + length));
  if (random() < trouble.duplicate) {
    counts.doubled++;
    send(out, to, arena.bytes.subarray(offset, offset + length));
  }
}

function send(out: UdpSocket, to: number, packet: Uint8Array): void {
  const at = out.room(packet.length);
  if (at < 0) return;
  arena.bytes.set(packet, at);
  out.commit(packet.length, to);
}

function release(): void {
  while (held[0] !== undefined && held[0].dueMs <= reactor.nowMs + 0.5) {
    const { out, to, packet } = held.shift() as Held;
    send(out, to, packet);
  }
  if (held[0] !== undefined) reactor.setTimer(timer, held[0].dueMs);
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
