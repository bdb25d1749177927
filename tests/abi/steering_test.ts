/** The kernel gives a packet to the worker that the packet's connection ID names, and to nobody else. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { createArena, createLibc, LIBC_SCRATCH_BYTES } from "../../ffi/mod.ts";
import { CidTable, steeringProgram, workerOfByte } from "../../src/core/quic/mod.ts";
import {
  ArenaLayout,
  canSharePorts,
  Reactor,
  SHARING_TRIAL_BYTES,
  type SocketSharing,
  UdpSocket,
  type UdpSocketLimits,
  writeSockaddr,
} from "../../src/io/mod.ts";

const LIMITS: UdpSocketLimits = {
  receiveSlots: 8,
  receiveBatchesPerTurn: 8,
  sendTrains: 4,
  sendBufferBytes: 64 * 1024,
  kernelBufferBytes: 256 * 1024,
};
const IDS = 64, PACKET_BYTES = 64;
const WAIT_MS = 20_000;

const layout = new ArenaLayout(createArena(96 * 1024 * 1024));
const libc = createLibc(layout.arena, layout.reserve(LIBC_SCRATCH_BYTES));
const reactor = new Reactor(libc, layout, () => performance.now());

const tableOf = (worker: number, workers: number) =>
  new CidTable<string>((bytes) => void crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>), {
    worker,
    workers,
    place: () => worker,
    handOver: () => false,
  });

for (const workers of [2, 3, 16]) {
  Deno.test(`${workers} workers behind one address: each gets the packets of its own IDs, with short headers and with long ones`, () => {
    const got = Array.from({ length: workers }, () => [] as number[]);
    const sockets: UdpSocket[] = [];
    const sharingOf = (worker: number): SocketSharing =>
      worker === 0 ? { kind: "first" } : { kind: "joins", program: steeringProgram(workers) };
    for (let worker = 0; worker < workers; worker++) {
      const endpoint = sockets[0]?.bound ?? { address: "127.0.0.1", port: 0 };
      const onPacket = (_socket: UdpSocket, at: number, length: number) => {
        assertEquals(length, PACKET_BYTES);
        got[worker]?.push(layout.arena.view.getUint32(at + 40));
      };
      sockets.push(new UdpSocket(reactor, layout, endpoint, LIMITS, onPacket, () => {}, sharingOf(worker)));
    }
    const sender = new UdpSocket(reactor, layout, { address: "127.0.0.1", port: 0 }, LIMITS, () => {}, () => {});
    const to = layout.reserve(64);
    const bound = sockets[0]?.bound;
    assert(bound !== undefined);
    writeSockaddr(layout.arena, to, bound);
    const wanted = Array.from({ length: workers }, () => [] as number[]);
    for (let i = 0; i < IDS * workers; i++) {
      const worker = i % workers;
      const id = tableOf(worker, workers).issue();
      assertEquals(workerOfByte(id[0] ?? 0, workers), worker);
      assert((id[0] ?? 0) >= 0x40);
      const isLong = (i / workers & 1) === 1;
      const at = sender.room(PACKET_BYTES);
      layout.arena.bytes.fill(0, at, at + PACKET_BYTES);
      layout.arena.bytes[at] = isLong ? 0xc0 : 0x40;
      layout.arena.bytes.set(id, at + (isLong ? 6 : 1));
      layout.arena.view.setUint32(at + 40, i);
      sender.commit(PACKET_BYTES, to);
      // One by one: a batch goes where its first packet goes.
      sender.flush();
      wanted[worker]?.push(i);
      const deadline = performance.now() + WAIT_MS;
      while (got[worker]?.length !== wanted[worker]?.length && performance.now() < deadline) {
        reactor.again();
        reactor.turn();
      }
      // At the first that went elsewhere: the time above is that of one packet, not of each.
      assertEquals(got[worker], wanted[worker], `packet ${i} of worker ${worker}`);
    }
    assertEquals(got, wanted);
    assertThrows(
      () => new UdpSocket(reactor, layout, bound, LIMITS, () => {}, () => {}, { kind: "first" }),
      Error,
      "address already in use",
    );
    for (const socket of [...sockets, sender]) socket.close();
  });
}

Deno.test("whether ports can be shared is the kernel's word, and leaves no descriptor behind", () => {
  const at = layout.reserve(SHARING_TRIAL_BYTES);
  const descriptors = () => [...Deno.readDirSync("/proc/self/fd")].length;
  const before = descriptors();
  assert(canSharePorts(libc, at), "Linux can since 4.5");
  const ENOPROTOOPT = 92;
  assert(!canSharePorts({ ...libc, arena: libc.arena, setsockopt: () => -ENOPROTOOPT }, at));
  assert(!canSharePorts({ ...libc, arena: libc.arena, setsockoptInt: () => -ENOPROTOOPT }, at));
  assertEquals(descriptors(), before);
});
