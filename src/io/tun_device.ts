/**
 * A TUN device in the reactor: one IP packet in each read and write, without any header of the kernel's (Linux,
 * Documentation/networking/tuntap). The kernel keeps a queue for what is not read yet and drops what does not fit: what a router would do.
 */
import { PosternError } from "../base/mod.ts";
import type { ArenaLayout } from "./arena.ts";
import { errnoText } from "./errno.ts";
import type { DeviceCalls } from "./native.ts";
import { EPOLLET, EPOLLIN, type EventSource, type Reactor } from "./reactor.ts";
import { INTERFACE_NAME_BYTES, type IpNetwork, TunInterface } from "./tun_interface.ts";

const PATH = "/dev/net/tun";
const TUNSETIFF = 0x4004_54ca;
const IFF_TUN = 0x0001, IFF_NO_PI = 0x1000;
const REQUEST_BYTES = 40;
/** Packets taken in one turn, so that a busy device leaves time for the others. */
const PACKETS_PER_TURN = 64;
/** The largest packet that IP has. */
const PACKET_BYTES_MAX = 65_535;

export interface TunOptions {
  /** Of the interface; a `%d` in it becomes the next free number. At most 15 characters. */
  readonly name: string;
  readonly mtu: number;
  readonly addresses: readonly IpNetwork[];
  readonly routes: readonly IpNetwork[];
  /** Free bytes in front of every packet that is handed over. */
  readonly headroomBytes: number;
  /** Whether a packet more can be taken. What is not taken waits in the kernel, and then its senders wait. */
  readonly hasRoom: () => boolean;
  /** A packet from this machine; `offset` is valid during the call. */
  readonly onPacket: (offset: number, length: number, nowMs: number) => void;
}

export class TunDevice implements EventSource {
  readonly interface: TunInterface;
  readonly #reactor: Reactor;
  readonly #device: DeviceCalls;
  readonly #options: TunOptions;
  readonly #packetAt: number;
  readonly #fd: number;
  readonly #token: number;
  #isReadable = false;

  /** Throws a PosternError that says what is missing. */
  constructor(reactor: Reactor, layout: ArenaLayout, device: DeviceCalls, options: TunOptions) {
    this.#reactor = reactor;
    this.#device = device;
    this.#options = options;
    const { libc } = reactor;
    const { bytes, view } = libc.arena;
    const at = layout.reserve(REQUEST_BYTES);
    const write = (offset: number, text: string) => {
      for (let i = 0; i < text.length; i++) bytes[offset + i] = text.charCodeAt(i);
    };
    bytes.fill(0, at, at + REQUEST_BYTES);
    write(at, PATH);
    this.#fd = device.open(at);
    if (this.#fd < 0) throw problem(`cannot open ${PATH}: ${errnoText(-this.#fd)}`);
    bytes.fill(0, at, at + REQUEST_BYTES);
    write(at, options.name.slice(0, INTERFACE_NAME_BYTES - 1));
    view.setUint16(at + INTERFACE_NAME_BYTES, IFF_TUN | IFF_NO_PI, true);
    const made = device.ioctl(this.#fd, TUNSETIFF, at);
    if (made < 0) {
      libc.close(this.#fd);
      throw problem(`cannot make the network interface ${options.name}: ${errnoText(-made)}`);
    }
    const name = new TextDecoder().decode(bytes.slice(at, bytes.indexOf(0, at)));
    this.interface = new TunInterface(libc, layout, device, name);
    try {
      this.interface.setMtu(options.mtu);
      for (const address of options.addresses) this.interface.addAddress(address);
      this.interface.up();
      for (const route of options.routes) this.interface.addRoute(route);
    } catch (error) {
      libc.close(this.#fd);
      throw error;
    }
    this.#packetAt = layout.reserve(options.headroomBytes + PACKET_BYTES_MAX) + options.headroomBytes;
    this.#token = reactor.add(this.#fd, EPOLLIN | EPOLLET, this);
  }

  onEvents(_events: number, nowMs: number): void {
    this.#isReadable = true;
    this.pump(nowMs);
  }

  /** Goes on with what is waiting; to be called when there is room again. */
  pump(nowMs: number): void {
    for (let count = 0; this.#isReadable && this.#options.hasRoom(); count++) {
      if (count === PACKETS_PER_TURN) return this.#reactor.again();
      const length = this.#device.read(this.#fd, this.#packetAt, PACKET_BYTES_MAX);
      if (length > 0) this.#options.onPacket(this.#packetAt, length, nowMs);
      else this.#isReadable = false;
    }
  }

  /** Gives a packet to this machine. Returns whether the kernel took it. */
  write(offset: number, length: number): boolean {
    return this.#device.write(this.#fd, offset, length) === length;
  }

  /** The interface goes with its device. */
  close(): void {
    this.#reactor.remove(this.#fd, this.#token);
    this.#reactor.libc.close(this.#fd);
  }
}

function problem(message: string): PosternError {
  return new PosternError(message, {
    code: "tun",
    hint: "run as root or with CAP_NET_ADMIN, on Linux with the tun module (a container needs --device /dev/net/tun)",
  });
}
