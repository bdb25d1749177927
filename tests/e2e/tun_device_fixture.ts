/** A TUN device of the kernel, opened through the C library: one IP packet in each read and write. Needs root. */
import type { Arena } from "../../src/core/quic/mod.ts";
import { AddressTable, BIGINTS } from "../../ffi/address.ts";

const O_RDWR_NONBLOCK_CLOEXEC = 0o2 | 0o4000 | 0o2000000;
const TUNSETIFF = 0x400454can;
const IFF_TUN = 0x0001, IFF_NO_PI = 0x1000;
/** struct ifreq: sixteen bytes of name, then the flags; forty bytes in all. */
const REQUEST_BYTES = 40, NAME_BYTES = 16;

const SYMBOLS = {
  open: { parameters: ["buffer", "i32"], result: "i32" },
  ioctl: { parameters: ["i32", "u64", "buffer"], result: "i32" },
  read: { parameters: ["i32", "u64", "usize"], result: "isize" },
  write: { parameters: ["i32", "u64", "usize"], result: "isize" },
} as const satisfies Deno.ForeignLibraryInterface;

export class TunDevice {
  readonly fd: number;
  readonly name: string;
  readonly #address: AddressTable;
  readonly #c = Deno.dlopen("libc.so.6", SYMBOLS).symbols;

  /** Makes a device with the next free name. */
  constructor(arena: Arena) {
    this.#address = new AddressTable(arena);
    this.fd = this.#c.open(new TextEncoder().encode("/dev/net/tun\0"), O_RDWR_NONBLOCK_CLOEXEC);
    const request = new Uint8Array(REQUEST_BYTES);
    request.set(new TextEncoder().encode("postern%d"));
    new DataView(request.buffer).setUint16(NAME_BYTES, IFF_TUN | IFF_NO_PI, true);
    if (this.fd < 0 || this.#c.ioctl(this.fd, TUNSETIFF, request) < 0) throw new Error("cannot make a TUN device");
    this.name = new TextDecoder().decode(request.subarray(0, request.indexOf(0)));
  }

  /** Reads the next packet to an offset of the arena. Returns its length, or -1 when there is none. */
  read(offset: number, capacity: number): number {
    return Number(this.#c.read(this.fd, this.#address.at(offset), BIGINTS[capacity] as bigint));
  }

  /** Gives a packet to the kernel. Returns whether it took it. */
  write(offset: number, length: number): boolean {
    return Number(this.#c.write(this.fd, this.#address.at(offset), BIGINTS[length] as bigint)) === length;
  }
}
