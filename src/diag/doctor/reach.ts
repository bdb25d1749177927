/**
 * Whether UDP reaches a QUIC server and comes back, and how large a packet may be on the way there. What is asked is what every QUIC
 * server answers to anybody without keeping anything: a first packet of a version that nobody speaks (RFC 9000 §6). The kernel tells of
 * ICMP errors because the socket is connected.
 */
import { bytesEqualAt } from "../../base/mod.ts";
import { emptyLongHeader, INITIAL_BYTES_MIN, PacketType, readLongHeader } from "../../core/quic/mod.ts";
import { DATAGRAM_AGAIN, DatagramSocket, type IpEndpoint, SOCKADDR_SLOT_BYTES, writeSockaddr } from "../../io/mod.ts";
import { type ProbeWorld, turnUntil } from "../probe/mod.ts";

export type Reach =
  /** A QUIC server answered. */
  | {
    readonly kind: "answered";
    readonly rttMs: number;
    /** The largest UDP payload of {@linkcode PATH_MTUS} that came there. */
    readonly payloadMaxBytes: number;
    /** What an offload's request led to: 0, or a positive errno. */
    readonly segmentation: number;
    readonly coalescing: number;
  }
  /** The network or the host said no, or this machine has no way there. */
  | { readonly kind: "refused"; readonly errno: number }
  /** Nothing came back, no refusal either. */
  | { readonly kind: "silent" };

/** MTUs that are in use: IPv6's least, tunnels, Ethernet, jumbo frames. */
const PATH_MTUS: readonly number[] = [1_280, 1_300, 1_320, 1_340, 1_360, 1_380, 1_400, 1_420, 1_440, 1_460, 1_480, 1_492, 1_500]
  .concat([2_000, 4_000, 8_980]);
/** IP and UDP headers. */
const OVERHEAD_BYTES = { ipv4: 28, ipv6: 48 } as const;

/** Of the first question, and of the different sizes. */
const FIRST_TRIES_MAX = 5, SIZE_TRIES_MAX = 3;
const TRY_MS = 1_000;
/** One of those that are set aside to make servers answer (RFC 9000 §15). */
const NO_VERSION = 0x1a2a3a4a;
const ID_BYTES = 8;
const BUFFER_BYTES = 16_384;
const IPPROTO_IP = 0, IP_MTU_DISCOVER = 10, IPPROTO_IPV6 = 41, IPV6_MTU_DISCOVER = 23, PMTUDISC_PROBE = 3;
const SOL_UDP = 17, UDP_SEGMENT = 103, UDP_GRO = 104;
/** A link of this machine takes no packet of this size. */
export const EMSGSIZE = 90;

/** Asks one address. Takes some seconds where packets of some size do not pass, and where nothing answers. */
export async function reach(world: ProbeWorld, target: IpEndpoint): Promise<Reach> {
  const { layout, reactor } = world;
  const slot = layout.reserve(SOCKADDR_SLOT_BYTES);
  writeSockaddr(layout.arena, slot, target);
  const asking = new Asking(world);
  const socket = DatagramSocket.connect(reactor, slot, asking);
  if (typeof socket === "number") return { kind: "refused", errno: socket };
  try {
    return await asking.run(socket, target.address.includes(":"));
  } finally {
    socket.close();
    // Its event source is let go of in a turn.
    reactor.again();
    reactor.turn();
  }
}

class Asking {
  readonly #world: ProbeWorld;
  readonly #at: number;
  readonly #header = emptyLongHeader();
  /** Of this probe; the last byte of an ID is the number of what was asked. */
  readonly #id = new Uint8Array(ID_BYTES);
  readonly #answered = new Set<number>();
  #socket: DatagramSocket | null = null;
  #errno = 0;

  constructor(world: ProbeWorld) {
    this.#world = world;
    this.#at = world.layout.reserve(BUFFER_BYTES);
    world.entropy(this.#id);
  }

  async run(socket: DatagramSocket, isIpv6: boolean): Promise<Reach> {
    this.#socket = socket;
    // Packets are not cut, and the kernel's own idea of the path's MTU stops none.
    if (isIpv6) socket.setOption(IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_PROBE);
    else socket.setOption(IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_PROBE);
    const coalescing = socket.setOption(SOL_UDP, UDP_GRO, 1);
    // Answers are wanted one by one.
    socket.setOption(SOL_UDP, UDP_GRO, 0);
    const rttMs = await this.#first();
    if (rttMs === null) return this.#errno === 0 ? { kind: "silent" } : { kind: "refused", errno: this.#errno };
    const payloadMaxBytes = await this.#largest(isIpv6 ? OVERHEAD_BYTES.ipv6 : OVERHEAD_BYTES.ipv4);
    return { kind: "answered", rttMs, payloadMaxBytes, segmentation: this.#segmented(), coalescing };
  }

  onReadable(nowMs: number): void {
    const { bytes, view } = this.#world.layout.arena;
    for (let left = 64; left > 0; left--) {
      const length = this.#socket?.receive(this.#at, BUFFER_BYTES, nowMs) ?? -1;
      if (length < 0) return;
      if (readLongHeader(view, this.#at, length, this.#header) !== PacketType.versionNegotiation) continue;
      const { destinationOffset, destinationLength } = this.#header;
      // Only who has seen our packet knows its ID.
      if (destinationLength !== ID_BYTES || !bytesEqualAt(bytes, destinationOffset, this.#id, 0, ID_BYTES - 1)) continue;
      this.#answered.add(bytes[destinationOffset + ID_BYTES - 1] ?? 0);
    }
  }

  onError(errno: number): void {
    // A packet that is too large for some link is what is looked for.
    if (errno !== EMSGSIZE) this.#errno = errno;
  }

  /** The time to the first answer, or null. */
  async #first(): Promise<number | null> {
    const { reactor } = this.#world;
    for (let tries = 0; tries < FIRST_TRIES_MAX; tries++) {
      const sentMs = reactor.clockMs;
      const failed = this.#ask(0, INITIAL_BYTES_MIN);
      if (failed > 0) this.#errno = failed;
      const isAnswered = () => this.#answered.has(0);
      if (await turnUntil(reactor, isAnswered, TRY_MS, () => this.#errno !== 0)) return reactor.clockMs - sentMs;
      if (this.#errno !== 0) return null;
    }
    return null;
  }

  /** The largest payload that is answered, all sizes asked at once. */
  async #largest(overheadBytes: number): Promise<number> {
    const sizes = PATH_MTUS.map((mtu) => mtu - overheadBytes).filter((bytes) => bytes > INITIAL_BYTES_MIN);
    const isOut = (at: number) => this.#answered.has(at + 1);
    let passing = sizes.map((_, at) => at);
    for (let tries = 0; tries < SIZE_TRIES_MAX && passing.length > 0; tries++) {
      passing = passing.filter((at) => isOut(at) || this.#ask(at + 1, sizes[at] ?? 0) <= 0);
      if (await turnUntil(this.#world.reactor, () => passing.every(isOut), TRY_MS)) break;
    }
    return sizes.reduce((most, bytes, at) => isOut(at) ? Math.max(most, bytes) : most, INITIAL_BYTES_MIN);
  }

  /** Whether the way there takes a train of packets in one call (UDP_SEGMENT): 0, or a positive errno. */
  #segmented(): number {
    const refused = this.#socket?.setOption(SOL_UDP, UDP_SEGMENT, INITIAL_BYTES_MIN) ?? 0;
    if (refused !== 0) return refused;
    this.#write(0, 0, INITIAL_BYTES_MIN);
    this.#write(INITIAL_BYTES_MIN, 0, INITIAL_BYTES_MIN);
    return Math.max(0, this.#socket?.send(this.#at, 2 * INITIAL_BYTES_MIN) ?? 0);
  }

  /** Sends one question. A positive errno says that it did not leave. */
  #ask(number: number, length: number): number {
    this.#write(0, number, length);
    const failed = this.#socket?.send(this.#at, length) ?? DATAGRAM_AGAIN;
    return Math.max(0, failed);
  }

  /** A first packet of another version: its first byte, the version, their ID, ours, and padding. */
  #write(offset: number, number: number, length: number): void {
    const { bytes, view } = this.#world.layout.arena;
    const at = this.#at + offset;
    bytes.fill(0, at, at + length);
    bytes[at] = 0xc0;
    view.setUint32(at + 1, NO_VERSION);
    bytes[at + 5] = ID_BYTES;
    this.#world.entropy(bytes.subarray(at + 6, at + 6 + ID_BYTES));
    bytes[at + 6 + ID_BYTES] = ID_BYTES;
    bytes.set(this.#id, at + 7 + ID_BYTES);
    bytes[at + 6 + 2 * ID_BYTES] = number;
  }
}

/** Which of the two headers an address has before its payload. */
export function overheadOf(address: string): number {
  return address.includes(":") ? OVERHEAD_BYTES.ipv6 : OVERHEAD_BYTES.ipv4;
}
