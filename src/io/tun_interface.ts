/**
 * The network interface of a TUN device: its addresses, routes, MTU and state, through ioctl(2) as netdevice(7) and ipv6(7) lay the
 * structures out. Everything here belongs to the interface and goes with it, so a killed process leaves nothing behind.
 */
import { PosternError } from "../base/mod.ts";
import { errnoText } from "./errno.ts";
import type { ArenaLayout } from "./arena.ts";
import type { DeviceCalls, Libc } from "./native.ts";
import { AF_INET, AF_INET6, parseIpv4, parseIpv6 } from "./sockaddr.ts";

const SIOCADDRT = 0x890b, SIOCGIFFLAGS = 0x8913, SIOCSIFFLAGS = 0x8914, SIOCSIFADDR = 0x8916;
const SIOCSIFNETMASK = 0x891c, SIOCSIFMTU = 0x8922, SIOCGIFINDEX = 0x8933;
const IFF_UP = 0x1, RTF_UP = 0x1, RTF_HOST = 0x4;
const SOCK_DGRAM = 2;
const EEXIST = 17;

/** struct ifreq: the name, then a union. */
const REQUEST_BYTES = 40;
export const INTERFACE_NAME_BYTES = 16;
/** struct in6_ifreq: address, prefix length, interface index. */
const REQUEST6_PREFIX_AT = 16, REQUEST6_INDEX_AT = 20;
/** struct rtentry: sockaddrs of destination and mask, flags, and a pointer to the interface's name. */
const ROUTE_BYTES = 120, ROUTE_TO_AT = 8, ROUTE_MASK_AT = 40, ROUTE_FLAGS_AT = 56, ROUTE_NAME_AT = 88;
/** struct in6_rtmsg. */
const ROUTE6_BYTES = 80, ROUTE6_LENGTH_AT = 52, ROUTE6_METRIC_AT = 56, ROUTE6_FLAGS_AT = 72, ROUTE6_INDEX_AT = 76;
const ROUTE6_METRIC = 256;
/** Linux takes IPv6 from an interface with a smaller MTU away (RFC 8200 §5). */
export const IPV6_MTU_MIN = 1280;

/** A network, or with the longest prefix an address. */
export interface IpNetwork {
  readonly address: string;
  readonly prefix: number;
}

/** Parts of the arena that an interface's requests are written to. */
const SCRATCH_BYTES = ROUTE_BYTES + INTERFACE_NAME_BYTES;

export class TunInterface {
  readonly name: string;
  readonly #libc: Libc;
  readonly #device: DeviceCalls;
  readonly #at: number;
  readonly #nameAt: number;

  constructor(libc: Libc, layout: ArenaLayout, device: DeviceCalls, name: string) {
    this.name = name;
    this.#libc = libc;
    this.#device = device;
    this.#at = layout.reserve(SCRATCH_BYTES);
    this.#nameAt = this.#at + ROUTE_BYTES;
    this.#writeName(this.#nameAt);
  }

  /** Throws a PosternError that names the step and the kernel's reason. */
  setMtu(bytes: number): void {
    this.#request(AF_INET, SIOCSIFMTU, `set its MTU to ${bytes}`, (view, at) => view.setInt32(at, bytes, true));
  }

  /** The address that packets of this machine's own programs come from. */
  addAddress({ address, prefix }: IpNetwork): void {
    const doing = `give it the address ${address}/${prefix}`;
    const v4 = parseIpv4(address);
    if (v4 !== null) {
      this.#request(AF_INET, SIOCSIFADDR, doing, (view, at) => writeIpv4(view, at, v4));
      this.#request(AF_INET, SIOCSIFNETMASK, doing, (view, at) => writeIpv4(view, at, maskOf(prefix)));
      return;
    }
    const v6 = parseIpv6(address);
    if (v6 === null) throw this.#problem(doing, "it is no IP address");
    const { bytes, view } = this.#libc.arena;
    const index = this.#index();
    bytes.set(v6, this.#at);
    view.setUint32(this.#at + REQUEST6_PREFIX_AT, prefix, true);
    view.setInt32(this.#at + REQUEST6_INDEX_AT, index, true);
    this.#ioctl(AF_INET6, SIOCSIFADDR, doing);
  }

  /** Sends what goes to a network into the device. */
  addRoute({ address, prefix }: IpNetwork): void {
    const doing = `route ${address}/${prefix} to it`;
    const { bytes, view } = this.#libc.arena;
    const v4 = parseIpv4(address);
    if (v4 !== null) {
      bytes.fill(0, this.#at, this.#at + ROUTE_BYTES);
      writeIpv4(view, this.#at + ROUTE_TO_AT, v4);
      writeIpv4(view, this.#at + ROUTE_MASK_AT, maskOf(prefix));
      view.setUint16(this.#at + ROUTE_FLAGS_AT, prefix === 32 ? RTF_UP | RTF_HOST : RTF_UP, true);
      view.setBigUint64(this.#at + ROUTE_NAME_AT, this.#device.addressOf(this.#nameAt), true);
      this.#ioctl(AF_INET, SIOCADDRT, doing);
      return;
    }
    const v6 = parseIpv6(address);
    if (v6 === null) throw this.#problem(doing, "it is no IP address");
    const index = this.#index();
    bytes.fill(0, this.#at, this.#at + ROUTE6_BYTES);
    bytes.set(v6, this.#at);
    view.setUint16(this.#at + ROUTE6_LENGTH_AT, prefix, true);
    view.setUint32(this.#at + ROUTE6_METRIC_AT, ROUTE6_METRIC, true);
    view.setUint32(this.#at + ROUTE6_FLAGS_AT, RTF_UP, true);
    view.setInt32(this.#at + ROUTE6_INDEX_AT, index, true);
    this.#ioctl(AF_INET6, SIOCADDRT, doing);
  }

  up(): void {
    const { view } = this.#libc.arena;
    this.#request(AF_INET, SIOCGIFFLAGS, "read its state", () => {});
    const flags = view.getUint16(this.#at + INTERFACE_NAME_BYTES, true);
    this.#request(AF_INET, SIOCSIFFLAGS, "bring it up", (at, offset) => at.setUint16(offset, flags | IFF_UP, true));
  }

  #index(): number {
    this.#request(AF_INET, SIOCGIFINDEX, "find its index", () => {});
    return this.#libc.arena.view.getInt32(this.#at + INTERFACE_NAME_BYTES, true);
  }

  /** An ioctl with a struct ifreq. */
  #request(family: number, request: number, doing: string, write: (view: DataView, at: number) => void): void {
    const { bytes, view } = this.#libc.arena;
    bytes.fill(0, this.#at, this.#at + REQUEST_BYTES);
    this.#writeName(this.#at);
    write(view, this.#at + INTERFACE_NAME_BYTES);
    this.#ioctl(family, request, doing);
  }

  #ioctl(family: number, request: number, doing: string): void {
    const fd = this.#libc.socket(family, SOCK_DGRAM);
    if (fd < 0) throw this.#problem(doing, errnoText(-fd));
    const result = this.#device.ioctl(fd, request, this.#at);
    this.#libc.close(fd);
    if (result < 0 && !(request === SIOCADDRT && result === -EEXIST)) throw this.#problem(doing, errnoText(-result));
  }

  #writeName(at: number): void {
    const { bytes } = this.#libc.arena;
    bytes.fill(0, at, at + INTERFACE_NAME_BYTES);
    for (let i = 0; i < this.name.length; i++) bytes[at + i] = this.name.charCodeAt(i);
  }

  #problem(doing: string, why: string): PosternError {
    return new PosternError(`cannot set up the network interface ${this.name}: to ${doing}: ${why}`, {
      code: "tun",
      hint: "it takes CAP_NET_ADMIN; with IPv6 addresses it takes a kernel with IPv6",
    });
  }
}

/** A struct sockaddr_in without a port. */
function writeIpv4(view: DataView, at: number, address: Uint8Array): void {
  view.setUint16(at, AF_INET, true);
  for (let i = 0; i < 4; i++) view.setUint8(at + 4 + i, address[i] ?? 0);
}

function maskOf(prefix: number): Uint8Array {
  const mask = prefix === 0 ? 0 : ~0 << (32 - prefix);
  return Uint8Array.of(mask >>> 24, mask >>> 16 & 255, mask >>> 8 & 255, mask & 255);
}
