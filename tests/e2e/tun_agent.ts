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
import { createDeviceCalls } from "../../ffi/mod.ts";
import { TunDevice } from "../../src/io/mod.ts";
import { DEVICE_MTU, type TunTarget } from "./tun_fixture.ts";
import { V1Agent } from "./v1_agent_fixture.ts";

/** The longest wrapper. */
const HEADROOM_BYTES = 512;
/** Where the last word of the destination's address stands: IPv4, IPv6. */
const LAST_WORD_V4_AT = 16, LAST_WORD_V6_AT = 36;

const target = JSON.parse(Deno.args[0] ?? "{}") as TunTarget;
const agent = new V1Agent({ ...target, services: target.routes.map(({ service }) => service) }, {
  onOpen: () => {},
  onPacket: (offset, length) => void device.write(offset, length),
});
const { connection, reactor } = agent;
const { arena } = reactor.libc;
const wrappers = wrappersOf(target);
const device = new TunDevice(reactor, agent.layout, createDeviceCalls(arena), {
  name: "postern%d",
  mtu: DEVICE_MTU,
  addresses: [],
  routes: [],
  headroomBytes: HEADROOM_BYTES,
  hasRoom: () => agent.isRegistered && !connection.engine.isDatagramQueueFull(),
  onPacket: send,
});

reactor.onTurnEnd((nowMs) => {
  agent.endTurn(nowMs);
  device.pump(nowMs);
  agent.endTurn(nowMs);
});

function send(packetAt: number, length: number): void {
  const wrapper = wrapperOf(packetAt);
  if (wrapper === undefined) return;
  arena.bytes.set(wrapper, packetAt - wrapper.length);
  connection.engine.datagramSend(packetAt - wrapper.length, wrapper.length + length);
  connection.touch();
}

/** What stands in front of the packet; undefined when its destination is nobody's. */
function wrapperOf(packetAt: number): Uint8Array | undefined {
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

console.log(JSON.stringify({ device: device.interface.name }));
while (!agent.isRegistered) reactor.turn();
console.log(JSON.stringify({ registered: true }));
reactor.run();
