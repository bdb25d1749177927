/**
 * The TUN device: what programs of this machine send to the inner address of a service leaves as it is, and what the service answers
 * comes back the same way, whatever protocol it is. Names are answered here (`tun_names`).
 *
 *   program ─► kernel ─► device ─► which service? ─► PacketEnd ─► DATAGRAM
 *   program ◄── kernel ◄── device ◄── from that service? ◄── PacketEnd ◄── DATAGRAM
 */
import { messageOf } from "../../base/mod.ts";
import type { Connection } from "../../core/quic/mod.ts";
import {
  encodeTooBig,
  encodeUnreachable,
  icmpErrorMaxBytes,
  type IpEnds,
  IpHeader,
  ipHeaderBytes,
  IpProtocol,
  parseEnds,
  readReversedEnds,
  ROUTED_ID_AT,
} from "../../core/wire/mod.ts";
import { type IpNetwork, IPV6_MTU_MIN, TunDevice } from "../../io/mod.ts";
import type { BoundAddress, Plane, TunPlan } from "../control/mod.ts";
import { PACKET_FIRST_BYTES, PACKET_MIN_BYTES } from "./limits.ts";
import type { AgentMetric } from "./metrics.ts";
import type { PacketEnd } from "./packet_end.ts";
import { AGENT_ADDRESS, AGENT_ADDRESS6, type AgentService, type AgentServices, DEFAULT_NETWORK } from "./services.ts";
import { DNS_PACKET_BYTES_MAX, DNS_PORT, TUN_DOMAIN, TunNames } from "./tun_names.ts";

/** Where names are asked: beside the machine's own address, outside of every service's. */
const DNS_ADDRESS = "100.64.0.53";
const SERVICE_ID_BYTES_MAX = 255;
const HEADROOM_BYTES = ROUTED_ID_AT + SERVICE_ID_BYTES_MAX;
const V4_PROTOCOL_AT = 9, V6_NEXT_HEADER_AT = 6;

export interface TunOptions {
  readonly plane: Plane;
  readonly plan: TunPlan;
  readonly services: AgentServices;
  readonly packets: PacketEnd;
  readonly count: (metric: AgentMetric, amount: number) => void;
}

export class Tun {
  readonly #options: TunOptions;
  readonly #device: TunDevice;
  readonly #names: TunNames;
  readonly #replyAt: number;
  /** From the answerer of names, and in IPv6 from nobody, to this machine. */
  readonly #own4: IpEnds;
  readonly #own6: IpEnds;
  /** The way back of the packet at hand. */
  readonly #back = new IpHeader();
  /** In front of every packet stands at most this. */
  readonly #headerBytes: number;
  #mtu: number;
  /** The device has its IPv6 address: the kernel takes it away where the MTU is too small for IPv6. */
  #hasIpv6 = false;

  /** Makes the device with its addresses and routes. Throws a PosternError that says what is missing. */
  constructor(options: TunOptions) {
    const { plane, plan, services, packets } = options;
    const { reactor, layout, openDevices } = plane.platform;
    this.#options = options;
    const own4 = parseEnds(DNS_ADDRESS, AGENT_ADDRESS), own6 = parseEnds("::", AGENT_ADDRESS6);
    if (own4 === null || own6 === null || openDevices === undefined) throw new Error("postern: internal error: no TUN device here");
    this.#own4 = own4;
    this.#own6 = own6;
    const byName = new Map([...services.all()].map((service) => [service.id.toLowerCase(), service]));
    this.#names = new TunNames(own4, (name, isIpv6) => {
      const service = byName.get(name);
      return service === undefined ? undefined : isIpv6 ? this.#hasIpv6 ? service.address6 : null : service.address;
    });
    this.#replyAt = layout.reserve(Math.max(DNS_PACKET_BYTES_MAX, icmpErrorMaxBytes(false)));
    this.#headerBytes = ROUTED_ID_AT + Math.max(0, ...[...services.all()].map(({ idBytes }) => idBytes.length));
    this.#mtu = PACKET_FIRST_BYTES - this.#headerBytes;
    this.#device = new TunDevice(reactor, layout, openDevices(), {
      name: plan.name,
      mtu: this.#mtu,
      addresses: [{ address: AGENT_ADDRESS, prefix: 32 }],
      routes: routesTo(services),
      headroomBytes: HEADROOM_BYTES,
      hasRoom: () => packets.hasRoom,
      onPacket: (offset, length) => this.#send(offset, length),
    });
    packets.guest = this;
    reactor.onTurnEnd((nowMs) => this.#device.pump(nowMs));
    plane.platform.post({ type: "tun", link: this.#device.interface.name, server: DNS_ADDRESS, domain: TUN_DOMAIN });
  }

  /** Where its names are asked. */
  get bound(): BoundAddress {
    return { name: `names on ${this.#device.interface.name}`, transport: "udp", address: DNS_ADDRESS, port: DNS_PORT };
  }

  /**
   * A packet of `service` that came from the server. Returns whether it is for this machine: one that says to come from anywhere else
   * than its service never reaches the kernel.
   */
  take(service: AgentService, offset: number, length: number): boolean {
    const ends = this.#readWayBack(offset, length);
    if (ends === null) return false;
    const own = ends.isIpv4 ? this.#own4 : this.#own6;
    if (!isSame(ends.source0, ends.source1, ends.source2, ends.source3, own)) return false;
    const there = ends.isIpv4 ? service.ends : service.ends6;
    const isFromService = there !== null &&
      isSame(ends.destination0, ends.destination1, ends.destination2, ends.destination3, there);
    if (isFromService) this.#toMachine(offset, length);
    else this.#options.count("droppedUnserved", 1);
    return true;
  }

  /** The connection's DATAGRAMs may have another size now: the machine's programs learn it from the device. */
  fit(connection: Connection): void {
    const datagramMax = connection.engine.datagramMax();
    const mtu = datagramMax - this.#headerBytes;
    if (mtu === this.#mtu || datagramMax < PACKET_MIN_BYTES) return;
    this.#mtu = mtu;
    try {
      this.#device.interface.setMtu(mtu);
      this.#fitIpv6();
    } catch (error) {
      this.#options.plane.log("warn", "tun-trouble", messageOf(error), { mtu });
    }
  }

  close(): void {
    this.#options.packets.guest = null;
    this.#device.close();
  }

  /** IPv6 where services have such addresses, as long as the MTU is large enough for it. */
  #fitIpv6(): void {
    const addresses = [...this.#options.services.all()].flatMap(({ address6 }) => address6 === null ? [] : [address6]);
    const isPossible = this.#mtu >= IPV6_MTU_MIN && addresses.length > 0;
    if (isPossible && !this.#hasIpv6) {
      this.#device.interface.addAddress({ address: AGENT_ADDRESS6, prefix: 128 });
      for (const address of addresses) this.#device.interface.addRoute({ address, prefix: 128 });
    }
    this.#hasIpv6 = isPossible;
  }

  /** A packet of this machine. */
  #send(offset: number, length: number): void {
    const { services, packets, count } = this.#options;
    const back = this.#readWayBack(offset, length);
    const own = back?.isIpv4 === true ? this.#own4 : this.#own6;
    // Only from programs of this machine: it is no router for others.
    if (back === null || !isSame(back.destination0, back.destination1, back.destination2, back.destination3, own)) {
      return count("droppedUnserved", 1);
    }
    if (back.isIpv4 && back.source3 === this.#own4.source3) return this.#answerName(offset, length);
    const service = services.from(back);
    if (service === null || packets.isDenied(service)) {
      count(service === null ? "droppedUnserved" : "droppedDenied", 1);
      return this.#refuse(back, offset, length, null);
    }
    if (length > this.#mtu) {
      count("droppedTooLarge", 1);
      return this.#refuse(back, offset, length, this.#mtu);
    }
    packets.forward(service, offset, length);
  }

  /** The ends of what would answer the packet; null when it has no whole header. */
  #readWayBack(offset: number, length: number): IpHeader | null {
    const { view } = this.#options.plane.platform.engine.arena;
    const version = length === 0 ? 0 : view.getUint8(offset) >> 4;
    if (version !== 4 && version !== 6 || length < ipHeaderBytes(version === 4)) return null;
    readReversedEnds(view, offset, this.#back);
    return this.#back;
  }

  #answerName(offset: number, length: number): void {
    const bytes = this.#names.answer(this.#options.plane.platform.engine.arena, offset, length, this.#replyAt);
    if (bytes === 0) this.#options.count("droppedUnserved", 1);
    else this.#toMachine(this.#replyAt, bytes);
  }

  /** Tells the sender at once: that there is nobody, which ICMP is never told, or with `mtu` that its packet is too large. */
  #refuse(back: IpHeader, offset: number, length: number, mtu: number | null): void {
    const memory = this.#options.plane.platform.engine.arena;
    const protocol = memory.bytes[offset + (back.isIpv4 ? V4_PROTOCOL_AT : V6_NEXT_HEADER_AT)];
    if (mtu === null && (protocol === IpProtocol.icmp || protocol === IpProtocol.icmpv6)) return;
    const bytes = mtu === null
      ? encodeUnreachable(memory, this.#replyAt, back, "host", memory, offset, length)
      : encodeTooBig(memory, this.#replyAt, back, mtu, memory, offset, length);
    this.#toMachine(this.#replyAt, bytes);
  }

  #toMachine(offset: number, length: number): void {
    if (!this.#device.write(offset, length)) this.#options.count("droppedLocal", 1);
  }
}

/** Whether the words are those of the destination of `ends`. */
function isSame(word0: number, word1: number, word2: number, word3: number, ends: IpEnds): boolean {
  return word3 === ends.destination3 && word2 === ends.destination2 && word1 === ends.destination1 && word0 === ends.destination0;
}

/** The network of services as a whole, so that nothing for it ever goes elsewhere, and the IPv4 addresses outside of it. */
function routesTo(services: AgentServices): IpNetwork[] {
  const outside = [...services.all()].filter(({ address }) => !address.startsWith(DEFAULT_NETWORK));
  return [
    { address: `${DEFAULT_NETWORK}0`, prefix: 24 },
    { address: DNS_ADDRESS, prefix: 32 },
    ...outside.map(({ address }): IpNetwork => ({ address, prefix: 32 })),
  ];
}
