/** The programs at both ends of a simulated session: they write, read slowly, end early or late, and check every byte. */
import type { CloseWhy, SessionHandler, TcpSession } from "../../src/core/netstack/mod.ts";
import { type PacketMemory, packetMemory } from "../../src/core/wire/mod.ts";
import type { Side, World } from "./netstack_world_fixture.ts";

export interface ProgramOptions {
  /** How many bytes it sends before it ends its direction. */
  readonly sendBytes: number;
  /** Distinguishes the streams: byte i of a stream is a function of both. */
  readonly stream: number;
  /** Chance that it takes only a part of what it is offered, and pauses for up to `pauseMs`. */
  readonly slow: number;
  readonly pauseMs: number;
  /** Sends only after the other side's end: a request answered after EOF. */
  readonly waitsForFin: boolean;
  readonly chunkMaxBytes: number;
}

export const PLAIN_PROGRAM: ProgramOptions = {
  sendBytes: 0,
  stream: 1,
  slow: 0,
  pauseMs: 0,
  waitsForFin: false,
  chunkMaxBytes: 16_384,
};

/** Byte `index` of stream `stream`. */
export function streamByte(stream: number, index: number): number {
  return (Math.imul(index + 1, 0x9e3779b1) ^ Math.imul(stream, 0x85ebca6b) ^ (index >>> 8)) & 0xff;
}

/** A program at one end of a session: it sends its stream, checks the other's, and remembers how it ended. */
export class Program implements SessionHandler {
  sent = 0;
  received = 0;
  isOpen = false;
  hasFin = false;
  closed: CloseWhy | null = null;
  /** The first thing that went wrong. */
  fault: string | null = null;
  session: TcpSession | null = null;
  readonly options: ProgramOptions;
  readonly #world: World;
  readonly #side: Side;
  readonly #peerStream: number;
  readonly #chunk: PacketMemory;
  #isPaused = false;
  #isShut = false;

  constructor(world: World, side: Side, options: ProgramOptions, peerStream: number) {
    this.#world = world;
    this.#side = side;
    this.options = options;
    this.#peerStream = peerStream;
    this.#chunk = packetMemory(options.chunkMaxBytes);
  }

  onOpen(session: TcpSession): void {
    if (this.isOpen) this.fault ??= "opened twice";
    this.isOpen = true;
    this.session = session;
    this.#write(session);
  }

  onData(session: TcpSession, memory: PacketMemory, offset: number, length: number): number {
    const { slow, pauseMs } = this.options;
    if (this.hasFin) this.fault ??= "data behind the end";
    if (this.#isPaused) return 0;
    let taken = length;
    if (this.#world.random() < slow) {
      taken = Math.floor(this.#world.random() * length);
      this.#isPaused = true;
      this.#world.after(this.#world.random() * pauseMs, () => {
        this.#isPaused = false;
        this.#side.stack.windowOpened(session, this.#world.nowMs);
      });
    }
    for (let i = 0; i < taken; i++) {
      if (memory.bytes[offset + i] !== streamByte(this.#peerStream, this.received + i)) {
        this.fault ??= `byte ${this.received + i} is wrong`;
      }
    }
    this.received += taken;
    return taken;
  }

  onFin(session: TcpSession): void {
    if (this.hasFin) this.fault ??= "a second end";
    this.hasFin = true;
    this.#write(session);
  }

  onWritable(session: TcpSession): void {
    this.#write(session);
  }

  onClosed(_session: TcpSession, why: CloseWhy): void {
    if (this.closed !== null) this.fault ??= "closed twice";
    this.closed = why;
  }

  #write(session: TcpSession): void {
    const { sendBytes, stream, waitsForFin, chunkMaxBytes } = this.options;
    if (!this.isOpen || this.#isShut || (waitsForFin && !this.hasFin)) return;
    const { stack } = this.#side;
    while (this.sent < sendBytes) {
      const length = Math.min(sendBytes - this.sent, 1 + Math.floor(this.#world.random() * chunkMaxBytes));
      for (let i = 0; i < length; i++) this.#chunk.bytes[i] = streamByte(stream, this.sent + i);
      const taken = stack.write(session, this.#chunk, 0, length, this.#world.nowMs);
      this.sent += taken;
      if (taken < length) return;
    }
    this.#isShut = true;
    stack.shutdownWrite(session, this.#world.nowMs);
  }
}
