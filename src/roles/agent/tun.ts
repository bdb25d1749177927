/**
 * The TUN device: what programs of this machine send to the inner address of a service leaves as it is, and what the service answers
 * comes back the same way, whatever protocol it is. Names are answered here (`tun_names`).
 *
 *   program ─► kernel ─► device ─► which service? ─► PacketEnd ─► DATAGRAM
 *   program ◄── kernel ◄── device ◄── from that service? ◄── PacketEnd ◄── DATAGRAM
 */
import { messageOf, parseIp } from "../../base/mod.ts";
import type { Connection } from "../../core/quic/mod.ts";
import {
  encodeTooBig,
  encodeUnreachable,
  icmpErrorMaxBytes,
  type IpEnds,
  IpHeader,
  IpProtocol,
  parseEnds,
  ROUTED_ID_AT,
} from "../../core/wire/mod.ts";
import { type IpNetwork, TunDevice } from "../../io/mod.ts";
import type { BoundAddress, Plane, TunPlan } from "../control/mod.ts";
import { PACKET_FIRST_BYTES, PACKET_MIN_BYTES } from "./limits.ts";
import type { AgentMetric } from "./metrics.ts";
import type { PacketEnd } from "./packet_end.ts";
import { AGENT_ADDRESS, type AgentService, type AgentServices, DEFAULT_NETWORK } from "./services.ts";
import { DNS_PACKET_BYTES_MAX, DNS_PORT, TUN_DOMAIN, TunNames } from "./tun_names.ts";

/** Where names are asked: beside the machine's own address, outside of every service's. */
const DNS_ADDRESS = "100.64.0.53";
const SERVICE_ID_BYTES_MAX = 255;
const HEADROOM_BYTES = ROUTED_ID_AT + SERVICE_ID_BYTES_MAX;
const IPV4_HEADER_BYTES = 20, PROTOCOL_AT = 9, SOURCE_AT = 12, DESTINATION_AT = 16;

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
  readonly #ends: IpEnds;
  readonly #own: number;
  readonly #dns: number;
  /** In front of every packet stands at most this. */
  readonly #headerBytes: number;
  #mtu: number;

  /** Makes the device with its addresses and routes. Throws a PosternError that says what is missing. */
  constructor(options: TunOptions) {
    const { plane, plan, services, packets } = options;
    const { reactor, layout, openDevices } = plane.platform;
    this.#options = options;
    const dnsEnds = parseEnds(DNS_ADDRESS, AGENT_ADDRESS);
    if (dnsEnds === null || openDevices === undefined) throw new Error("postern: internal error: no TUN device here");
    this.#ends = new IpHeader();
    this.#own = dnsEnds.destination3;
    this.#dns = dnsEnds.source3;
    const byName = new Map([...services.all()].map(({ id, address }) => [id.toLowerCase(), parseIp(address)]));
    this.#names = new TunNames(dnsEnds, (service) => byName.get(service) ?? null);
    this.#replyAt = layout.reserve(Math.max(DNS_PACKET_BYTES_MAX, icmpErrorMaxBytes(true)));
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
    const { view } = this.#options.plane.platform.engine.arena;
    if (length < IPV4_HEADER_BYTES || view.getUint8(offset) >> 4 !== 4 || view.getInt32(offset + DESTINATION_AT) !== this.#own) {
      return false;
    }
    if (view.getInt32(offset + SOURCE_AT) !== service.ends.destination3) this.#options.count("droppedUnserved", 1);
    else this.#toMachine(offset, length);
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
    } catch (error) {
      this.#options.plane.log("warn", "tun-trouble", messageOf(error), { mtu });
    }
  }

  close(): void {
    this.#options.packets.guest = null;
    this.#device.close();
  }

  /** A packet of this machine. */
  #send(offset: number, length: number): void {
    const { plane, services, packets, count } = this.#options;
    const { arena } = plane.platform.engine;
    // The kernel also sends what nobody asked for, such as IPv6 router solicitations.
    if (length < IPV4_HEADER_BYTES || arena.view.getUint8(offset) >> 4 !== 4) return count("droppedUnserved", 1);
    // Only programs of this machine: it is no router for others.
    if (arena.view.getInt32(offset + SOURCE_AT) !== this.#own) return count("droppedUnserved", 1);
    const destination = arena.view.getInt32(offset + DESTINATION_AT);
    if (destination === this.#dns) return this.#answerName(offset, length);
    const service = services.at(destination);
    if (service === null || packets.isDenied(service)) {
      count(service === null ? "droppedUnserved" : "droppedDenied", 1);
      return this.#refuse(offset, length, null);
    }
    if (length > this.#mtu) {
      count("droppedTooLarge", 1);
      return this.#refuse(offset, length, this.#mtu);
    }
    packets.forward(service, offset, length);
  }

  #answerName(offset: number, length: number): void {
    const bytes = this.#names.answer(this.#options.plane.platform.engine.arena, offset, length, this.#replyAt);
    if (bytes === 0) this.#options.count("droppedUnserved", 1);
    else this.#toMachine(this.#replyAt, bytes);
  }

  /** Tells the sender at once: that there is nobody, or with `mtu` that its packet is too large. ICMP itself is never answered. */
  #refuse(offset: number, length: number, mtu: number | null): void {
    const memory = this.#options.plane.platform.engine.arena;
    if (memory.bytes[offset + PROTOCOL_AT] === IpProtocol.icmp && mtu === null) return;
    const ends = this.#ends;
    ends.source2 = ends.destination2 = 0xffff;
    ends.source3 = memory.view.getInt32(offset + DESTINATION_AT);
    ends.destination3 = memory.view.getInt32(offset + SOURCE_AT);
    const bytes = mtu === null
      ? encodeUnreachable(memory, this.#replyAt, ends, "host", memory, offset, length)
      : encodeTooBig(memory, this.#replyAt, ends, mtu, memory, offset, length);
    this.#toMachine(this.#replyAt, bytes);
  }

  #toMachine(offset: number, length: number): void {
    if (!this.#device.write(offset, length)) this.#options.count("droppedLocal", 1);
  }
}

/** The network of services as a whole, so that nothing for it ever goes elsewhere, and the addresses outside of it. */
function routesTo(services: AgentServices): IpNetwork[] {
  const outside = [...services.all()].filter(({ address }) => !address.startsWith(DEFAULT_NETWORK));
  return [
    { address: `${DEFAULT_NETWORK}0`, prefix: 24 },
    { address: DNS_ADDRESS, prefix: 32 },
    ...outside.map(({ address }): IpNetwork => ({ address, prefix: 32 })),
  ];
}
