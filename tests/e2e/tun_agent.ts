/**
 * An agent as earlier ztna-v1 peers are, whose packets are the kernel's: a TUN device at one end, DATAGRAMs at the other. It runs
 * as a process of its own until a signal ends it, and prints two lines of JSON: the name of its device, and that it is registered.
 * Whoever started it gives the device its addresses (`tun_fixture.ts`).
 *
 *   deno run -A tests/e2e/tun_agent.ts '{"server":"127.0.0.1:4433",...,"routes":[{"service":"web","addresses":["10.100.0.1"]}]}'
 *
 * With one route packets go bare, with several each in the ROUTED wrapper of its destination's service.
 */
import { encodeRoutedHeader, parseEnds, ROUTED_ID_AT } from "../../src/core/wire/mod.ts";
import { EPOLLET, EPOLLIN } from "../../src/io/mod.ts";
import { TunDevice } from "./tun_device_fixture.ts";
import type { TunTarget } from "./tun_fixture.ts";
import { V1Agent } from "./v1_agent_fixture.ts";

const PACKET_MAX_BYTES = 2_048;
/** Packets that are read from the device before those of the connection have their turn. */
const PACKETS_PER_TURN = 256;
/** Where the last word of the destination's address stands: IPv4, IPv6. */
const LAST_WORD_V4_AT = 16, LAST_WORD_V6_AT = 36;

const target = JSON.parse(Deno.args[0] ?? "{}") as TunTarget;
const agent = new V1Agent({ ...target, services: target.routes.map(({ service }) => service) }, {
  onOpen: () => {},
  onPacket: (offset, length) => void device.write(offset, length),
});
const { connection, reactor } = agent;
const { arena } = reactor.libc;
const device = new TunDevice(arena);
const wrappers = wrappersOf(target);
const packetAt = agent.layout.reserve(PACKET_MAX_BYTES + 512) + 512;
let isReadable = false;

reactor.add(device.fd, EPOLLIN | EPOLLET, { onEvents: () => void (isReadable = true) });
reactor.onTurnEnd((nowMs) => {
  agent.endTurn(nowMs);
  if (isReadable && agent.isRegistered) pump();
  agent.endTurn(nowMs);
});

/** Moves packets as long as the connection takes them: what it does not take waits in the device, and then TCP waits. */
function pump(): void {
  let left = PACKETS_PER_TURN;
  for (; left > 0 && !connection.engine.isDatagramQueueFull(); left--) {
    const length = device.read(packetAt, PACKET_MAX_BYTES);
    if (length < 0) {
      isReadable = false;
      break;
    }
    const wrapper = wrapperOf();
    if (wrapper === undefined) continue;
    arena.bytes.set(wrapper, packetAt - wrapper.length);
    connection.engine.datagramSend(packetAt - wrapper.length, wrapper.length + length);
  }
  if (left === 0) reactor.again();
  connection.touch();
}

/** What stands in front of the packet at `packetAt`; undefined when its destination is nobody's. */
function wrapperOf(): Uint8Array | undefined {
  const { view } = arena;
  const isIpv4 = view.getUint8(packetAt) >> 4 === 4;
  return wrappers.get(view.getInt32(packetAt + (isIpv4 ? LAST_WORD_V4_AT : LAST_WORD_V6_AT)));
}

/** By the last word of each address. */
function wrappersOf({ routes }: TunTarget): Map<number, Uint8Array> {
  const found = new Map<number, Uint8Array>();
  for (const { service, addresses } of routes) {
    const id = new TextEncoder().encode(service);
    const header = new Uint8Array(routes.length > 1 ? ROUTED_ID_AT + id.length : 0);
    if (header.length > 0) encodeRoutedHeader(header, 0, id);
    for (const address of addresses) {
      const ends = parseEnds(address, address);
      if (ends !== null) found.set(ends.source3, header);
    }
  }
  return found;
}

console.log(JSON.stringify({ device: device.name }));
while (!agent.isRegistered) reactor.turn();
console.log(JSON.stringify({ registered: true }));
reactor.run();
