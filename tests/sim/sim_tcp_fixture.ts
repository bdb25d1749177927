/**
 * TCP in memory: two ends joined by two pipes of limited size, with the behaviour of Linux where a program can see it: FIN per
 * direction, RST, what poll(2) and SO_ERROR say, a close with unread bytes, writes that are taken in part.
 *
 * An end belongs to a descriptor ({@linkcode SimTcpSocket}) or to a script, which uses {@linkcode SimTcpEnd} directly.
 */
import type { Arena } from "../../src/core/quic/engine.ts";
import { readSockaddr, writeSockaddr } from "../../src/io/mod.ts";
import type { SimEvents } from "./sim_events_fixture.ts";
import {
  EADDRINUSE,
  EAGAIN,
  EINVAL,
  EPIPE,
  POLLERR,
  POLLHUP,
  POLLIN,
  POLLOUT,
  POLLRDHUP,
  type SimFile,
  Waiters,
} from "./sim_file_fixture.ts";
import type { SimRandom, SimTrace } from "./sim_random_fixture.ts";
import type { SimHost } from "./sim_udp_fixture.ts";

const SOL_SOCKET = 1, SO_ERROR = 4;
const ECONNRESET = 104, ECONNREFUSED = 111, EINPROGRESS = 115, ENOTCONN = 107;
const EPHEMERAL_FIRST = 50_000;
const BACKLOG_MAX = 1024;

export interface SimTcpOptions {
  readonly delayMs: number;
  readonly jitterMs: number;
  /** Bytes of one direction that were written and not yet read. */
  readonly pipeBytes: number;
  /** Written bytes arrive in pieces of at most this. */
  readonly segmentBytesMax: number;
}

/** What a connecting client meets at an address. */
export type TcpAcceptor =
  | { readonly kind: "listener"; readonly listener: SimTcpListener }
  /** Called once the connecting program has noticed; those who close without a word, to see whether somebody is there, are not shown. */
  | { readonly kind: "script"; readonly onAccept: (end: SimTcpEnd) => void; readonly afterMs: number }
  /** Nothing answers. */
  | { readonly kind: "silent" };

export class SimTcpNetwork {
  options: SimTcpOptions = { delayMs: 0.05, jitterMs: 0.05, pipeBytes: 65_536, segmentBytesMax: 65_536 };
  readonly events: SimEvents;
  readonly trace: SimTrace;
  readonly random: SimRandom;
  readonly #acceptors = new Map<string, TcpAcceptor>();
  #nextPort = EPHEMERAL_FIRST;
  #nextEnd = 1;

  constructor(events: SimEvents, trace: SimTrace, random: SimRandom) {
    this.events = events;
    this.trace = trace;
    this.random = random;
  }

  /** Serves an address; false when it is taken. */
  serve(host: SimHost, address: string, port: number, acceptor: TcpAcceptor): boolean {
    const key = place(host, address, port);
    if (this.#acceptors.has(key)) return false;
    this.#acceptors.set(key, acceptor);
    return true;
  }

  withdraw(host: SimHost, address: string, port: number): void {
    this.#acceptors.delete(place(host, address, port));
  }

  freePort(): number {
    return this.#nextPort++;
  }

  /** Begins to connect; the end is open, or has an error, some time later. */
  connect(host: SimHost, address: string, port: number): SimTcpEnd {
    const near = new SimTcpEnd(this, this.#nextEnd++, {
      address: address.includes(":") ? "::1" : "127.0.0.1",
      port: this.freePort(),
    });
    const { delayMs } = this.options;
    this.trace.note(this.events.nowMs, `tcp ${near.number} connects to ${address}|${port}`);
    this.events.after(delayMs, () => {
      const acceptor = this.#acceptors.get(place(host, address, port));
      if (acceptor?.kind === "silent" || near.isClosed) return;
      if (acceptor === undefined || (acceptor.kind === "listener" && acceptor.listener.isFull)) {
        this.events.after(delayMs, () => near.fail(ECONNREFUSED));
        return;
      }
      this.#join(near, acceptor);
    });
    return near;
  }

  #join(near: SimTcpEnd, acceptor: Exclude<TcpAcceptor, { kind: "silent" }>): void {
    const { delayMs } = this.options;
    const lateMs = acceptor.kind === "script" ? acceptor.afterMs : 0;
    this.events.after(delayMs + lateMs, () => {
      if (near.isClosed) return;
      const far = new SimTcpEnd(this, this.#nextEnd++, near.remote);
      near.open(far);
      far.open(near);
      near.onChange();
      this.events.after(delayMs, () => {
        this.trace.note(this.events.nowMs, `tcp ${near.number} meets ${far.number}`);
        if (acceptor.kind === "listener") acceptor.listener.offer(far);
        else near.whenNoticed(() => near.isClosed && !near.hasWritten ? far.close() : acceptor.onAccept(far));
      });
    });
  }
}

/** Loopback addresses are those of one host. */
function place(host: SimHost, address: string, port: number): string {
  const isLoopback = address.startsWith("127.") || address === "::1";
  return isLoopback ? `${host.name} ${address}|${port}` : `${address}|${port}`;
}

/** One end of a connection. */
export class SimTcpEnd {
  readonly number: number;
  /** Where the connecting side comes from. */
  readonly remote: { readonly address: string; readonly port: number };
  /** Called whenever something may have become possible. */
  onChange: () => void = () => {};
  /** A positive errno that nobody has been told yet. */
  error = 0;
  isOpen = false;
  /** The peer's FIN has arrived, behind everything that it wrote. */
  hasFin = false;
  sentFin = false;
  /** RST was sent or received: both directions are dead. */
  isDead = false;
  /** The program let go of it. */
  isClosed = false;
  hasWritten = false;
  #isNoticed = false;
  #onNoticed: (() => void) | null = null;
  readonly #network: SimTcpNetwork;
  readonly #arrived: Uint8Array[] = [];
  #arrivedBytes = 0;
  #peer: SimTcpEnd | null = null;
  /** What was written and not yet read at the other end. */
  #inPipe = 0;
  #hasNoSpace = false;
  #lastArrivalMs = 0;
  /** What is on its way to us from an older epoch is lost. */
  #epoch = 0;

  constructor(network: SimTcpNetwork, number: number, remote: { readonly address: string; readonly port: number }) {
    this.#network = network;
    this.number = number;
    this.remote = remote;
  }

  get readableBytes(): number {
    return this.#arrivedBytes;
  }

  open(peer: SimTcpEnd): void {
    this.#peer = peer;
    this.isOpen = true;
  }

  /** Calls `then` when the program has asked how its connect went, or has closed: after its turn. */
  whenNoticed(then: () => void): void {
    this.#onNoticed = then;
    if (this.#isNoticed || this.isClosed) this.#notice();
  }

  /** The connection could not be made, or died. */
  fail(errno: number): void {
    if (this.isClosed || this.isDead) return;
    this.error = errno;
    this.isDead = true;
    this.isOpen = false;
    this.onChange();
  }

  /** Takes what fits: the count, `-EAGAIN` when nothing does, or another errno. The bytes are copied. */
  write(bytes: Uint8Array): number {
    const errno = this.#takeError();
    if (errno !== 0) return -errno;
    if (this.isDead || this.sentFin || this.isClosed) return -EPIPE;
    if (!this.isOpen) return -ENOTCONN;
    const { pipeBytes, segmentBytesMax } = this.#network.options;
    const count = Math.min(bytes.length, pipeBytes - this.#inPipe);
    if (count < bytes.length) this.#hasNoSpace = true;
    if (count === 0) return bytes.length === 0 ? 0 : -EAGAIN;
    this.#inPipe += count;
    this.hasWritten = true;
    for (let at = 0; at < count; at += segmentBytesMax) this.#carry(bytes.slice(at, Math.min(count, at + segmentBytesMax)));
    return count;
  }

  /** Bytes, null at the peer's end, or `-EAGAIN` or another errno. */
  read(lengthMax: number): Uint8Array | null | number {
    const first = this.#arrived[0];
    if (first === undefined) {
      const errno = this.#takeError();
      if (errno !== 0) return -errno;
      return this.hasFin || this.isDead ? null : this.isOpen ? -EAGAIN : -ENOTCONN;
    }
    // Linux gives what is there, also behind a reset.
    const out = new Uint8Array(Math.min(lengthMax, this.#arrivedBytes));
    for (let at = 0; at < out.length;) {
      const piece = this.#arrived[0] as Uint8Array;
      const part = piece.subarray(0, out.length - at);
      out.set(part, at);
      at += part.length;
      if (part.length === piece.length) this.#arrived.shift();
      else this.#arrived[0] = piece.subarray(part.length);
    }
    this.#arrivedBytes -= out.length;
    const peer = this.#peer;
    if (peer !== null) this.#later(() => peer.#acknowledge(out.length));
    return out;
  }

  /** Sends FIN. */
  finish(): void {
    if (this.sentFin || this.isDead || !this.isOpen) return;
    this.sentFin = true;
    this.#network.trace.note(this.#network.events.nowMs, `tcp ${this.number} fin`);
    this.#carry(null);
  }

  /** Sends RST; what is still on its way may be lost. */
  reset(): void {
    this.isClosed = true;
    this.#notice();
    this.#sendReset();
  }

  /** As close(2): FIN, or RST when bytes are unread. */
  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#notice();
    if (this.#arrivedBytes > 0) this.#sendReset();
    else this.finish();
  }

  /** As poll(2), tcp_poll of Linux. */
  poll(): number {
    if (!this.isOpen && !this.isDead) return 0;
    let mask = this.error !== 0 ? POLLERR : 0;
    if (this.isDead) return mask | POLLHUP | POLLIN | POLLRDHUP | POLLOUT;
    if (this.hasFin && this.sentFin) mask |= POLLHUP;
    if (this.hasFin) mask |= POLLIN | POLLRDHUP;
    if (this.#arrivedBytes > 0) mask |= POLLIN;
    const { pipeBytes } = this.#network.options;
    if (this.sentFin || pipeBytes - this.#inPipe >= pipeBytes / 3) mask |= POLLOUT;
    else this.#hasNoSpace = true;
    return mask;
  }

  /** SO_ERROR: told once. */
  takeError(): number {
    if (this.isOpen) this.#notice();
    return this.#takeError();
  }

  #notice(): void {
    this.#isNoticed = true;
    const then = this.#onNoticed;
    this.#onNoticed = null;
    if (then !== null) this.#network.events.after(0, then);
  }

  #takeError(): number {
    const errno = this.error;
    this.error = 0;
    return errno;
  }

  #sendReset(): void {
    if (this.isDead) return;
    const wasOpen = this.isOpen;
    this.isDead = true;
    this.isOpen = false;
    const peer = this.#peer;
    if (!wasOpen || peer === null) return;
    this.#network.trace.note(this.#network.events.nowMs, `tcp ${this.number} rst`);
    if (this.#network.random.chance(0.5)) peer.#epoch++;
    this.#later(() => peer.#receiveReset());
  }

  #carry(bytes: Uint8Array | null): void {
    const peer = this.#peer as SimTcpEnd;
    const epoch = peer.#epoch;
    this.#later(() => {
      if (peer.#epoch === epoch) peer.#receive(bytes);
    });
  }

  /** Runs in order with everything else that this end says. */
  #later(run: () => void): void {
    const { events, random, options } = this.#network;
    this.#lastArrivalMs = Math.max(this.#lastArrivalMs, events.nowMs + options.delayMs + random.next() * options.jitterMs);
    events.at(this.#lastArrivalMs, run);
  }

  #receive(bytes: Uint8Array | null): void {
    if (this.isDead) return;
    if (bytes === null) {
      this.hasFin = true;
    } else if (this.isClosed) {
      // Nobody will read this: the peer must know.
      this.#sendReset();
      return;
    } else {
      this.#network.trace.note(this.#network.events.nowMs, `tcp ${this.number} gets ${bytes.length}`);
      this.#arrived.push(bytes);
      this.#arrivedBytes += bytes.length;
    }
    this.onChange();
  }

  #receiveReset(): void {
    if (this.isDead || (this.hasFin && this.sentFin)) return;
    this.isDead = true;
    this.isOpen = false;
    if (this.isClosed) return;
    this.error = this.hasFin ? EPIPE : ECONNRESET;
    this.onChange();
  }

  #acknowledge(count: number): void {
    this.#inPipe -= count;
    const { pipeBytes } = this.#network.options;
    if (!this.#hasNoSpace || pipeBytes - this.#inPipe < pipeBytes / 3 || this.isDead) return;
    this.#hasNoSpace = false;
    this.onChange();
  }
}

/** A descriptor of a connection, or of a socket that will be bound. */
export class SimTcpSocket implements SimFile {
  readonly waiters = new Waiters();
  readonly #network: SimTcpNetwork;
  readonly #host: SimHost;
  #bound = { address: "", port: 0 };
  #end: SimTcpEnd | null;
  #lingersZero = false;

  constructor(network: SimTcpNetwork, host: SimHost, _domain: number, end: SimTcpEnd | null = null) {
    this.#network = network;
    this.#host = host;
    this.#end = end;
    if (end !== null) end.onChange = () => this.waiters.wake();
  }

  get end(): SimTcpEnd | null {
    return this.#end;
  }

  poll(): number {
    return this.#end?.poll() ?? POLLHUP | POLLOUT;
  }

  close(): void {
    const end = this.#end;
    if (end === null) return;
    end.onChange = () => {};
    if (this.#lingersZero) end.reset();
    else end.close();
  }

  bind(arena: Arena, at: number): number {
    const wanted = readSockaddr(arena, at);
    if (wanted === null) return -EINVAL;
    this.#bound = { address: wanted.address, port: wanted.port === 0 ? this.#network.freePort() : wanted.port };
    return 0;
  }

  listen(): SimTcpListener | number {
    const { address, port } = this.#bound;
    const listener = new SimTcpListener(this.#network, this.#host, this.#bound);
    return this.#network.serve(this.#host, address, port, { kind: "listener", listener }) ? listener : -EADDRINUSE;
  }

  connect(arena: Arena, at: number): number {
    const target = readSockaddr(arena, at);
    if (target === null || this.#end !== null) return -EINVAL;
    this.#end = this.#network.connect(this.#host, target.address, target.port);
    this.#end.onChange = () => this.waiters.wake();
    return -EINPROGRESS;
  }

  shutdown(how: number): number {
    if (this.#end === null || !this.#end.isOpen) return -ENOTCONN;
    if (how !== 0) this.#end.finish();
    return 0;
  }

  setLingerZero(): number {
    this.#lingersZero = true;
    return 0;
  }

  getOption(level: number, option: number): number {
    return level === SOL_SOCKET && option === SO_ERROR ? this.#end?.takeError() ?? 0 : 0;
  }

  recv(bytes: Uint8Array, offset: number, length: number): number {
    const got = this.#end === null ? -ENOTCONN : this.#end.read(length);
    if (got === null) return 0;
    if (typeof got === "number") return got;
    bytes.set(got, offset);
    return got.length;
  }

  send(bytes: Uint8Array, offset: number, length: number): number {
    return this.#end?.write(bytes.subarray(offset, offset + length)) ?? -ENOTCONN;
  }
}

export class SimTcpListener implements SimFile {
  readonly waiters = new Waiters();
  readonly #network: SimTcpNetwork;
  readonly #host: SimHost;
  readonly #bound: { readonly address: string; readonly port: number };
  readonly #waiting: SimTcpEnd[] = [];

  constructor(network: SimTcpNetwork, host: SimHost, bound: { readonly address: string; readonly port: number }) {
    this.#network = network;
    this.#host = host;
    this.#bound = bound;
  }

  get isFull(): boolean {
    return this.#waiting.length >= BACKLOG_MAX;
  }

  poll(): number {
    return this.#waiting.length > 0 ? POLLIN : 0;
  }

  close(): void {
    this.#network.withdraw(this.#host, this.#bound.address, this.#bound.port);
    for (const end of this.#waiting) end.reset();
  }

  offer(end: SimTcpEnd): void {
    this.#waiting.push(end);
    this.waiters.wake();
  }

  accept(arena: Arena, address: number): SimTcpSocket | null {
    const end = this.#waiting.shift();
    if (end === undefined) return null;
    writeSockaddr(arena, address, end.remote);
    return new SimTcpSocket(this.#network, this.#host, 0, end);
  }

  name(arena: Arena, at: number): number {
    return writeSockaddr(arena, at, this.#bound) === 0 ? -EINVAL : 0;
  }
}
