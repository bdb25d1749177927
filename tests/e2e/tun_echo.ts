/**
 * A TUN device that answers every ICMP echo request itself, as a process that a test starts in a network namespace. Prints the name of
 * its interface as a line of JSON, or what was wrong, and runs until it is ended.
 */
import { createArena, createDeviceCalls, createLibc, LIBC_SCRATCH_BYTES } from "../../ffi/mod.ts";
import { messageOf } from "../../src/base/mod.ts";
import { foldSum } from "../../src/core/wire/mod.ts";
import { ArenaLayout, Reactor, TunDevice } from "../../src/io/mod.ts";

const layout = new ArenaLayout(createArena(1024 * 1024));
const { arena } = layout;
const reactor = new Reactor(createLibc(arena, layout.reserve(LIBC_SCRATCH_BYTES)), layout, () => performance.now());

/** Source and destination change places, which no checksum of theirs sees; the type of the message goes from request to reply. */
function answer(packetAt: number, length: number): void {
  const { bytes, view } = arena;
  const isIpv4 = view.getUint8(packetAt) >> 4 === 4;
  const [addressAt, addressBytes, messageAt] = isIpv4 ? [12, 4, 20] : [8, 16, 40];
  const source = bytes.slice(packetAt + addressAt, packetAt + addressAt + addressBytes);
  bytes.copyWithin(packetAt + addressAt, packetAt + addressAt + addressBytes, packetAt + addressAt + 2 * addressBytes);
  bytes.set(source, packetAt + addressAt + addressBytes);
  const type = view.getUint8(packetAt + messageAt);
  if (type !== (isIpv4 ? 8 : 128)) return;
  const [at, reply] = [packetAt + messageAt, isIpv4 ? 0 : 129];
  const sum = ~view.getUint16(at + 2) & 0xffff;
  // RFC 1624: one word of the message changes.
  view.setUint16(at + 2, ~foldSum(sum + (~(type << 8) & 0xffff) + (reply << 8)) & 0xffff);
  view.setUint8(at, reply);
  device.write(packetAt, length);
}

let device: TunDevice;
try {
  device = new TunDevice(reactor, layout, createDeviceCalls(arena), {
    name: "post%d",
    mtu: 1300,
    addresses: [{ address: "100.64.0.1", prefix: 32 }, { address: "fd00::1", prefix: 128 }],
    routes: [{ address: "10.100.0.0", prefix: 24 }, { address: "100.64.0.53", prefix: 32 }, { address: "fd00:1::", prefix: 64 }],
    headroomBytes: 8,
    hasRoom: () => true,
    onPacket: answer,
  });
  console.log(JSON.stringify({ name: device.interface.name }));
} catch (error) {
  console.log(JSON.stringify({ error: messageOf(error) }));
  Deno.exit(1);
}
reactor.run();
