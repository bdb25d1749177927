/**
 * One connection of the memory engine: handshake, streams and datagrams over packets that may be lost, on the world's clock. It
 * takes time only from its engine and chance from nobody, so that what it does follows from what it is given.
 */
import { type CertificateSummary, type CloseInfo, type ConnectionStats, EngineError } from "../../src/core/quic/mod.ts";
import type { EngineConnection, ExpectedName } from "../../src/core/quic/mod.ts";
import { SOCKADDR_SLOT_BYTES } from "../../src/io/mod.ts";
import type { MemoryEngine, MemoryProfile } from "./memory_engine_fixture.ts";
import {
  Alert,
  decodeCertificate,
  encodeMessage,
  type HandshakeMessage,
  MessageReader,
  type TransportHello,
  verifyPeer,
} from "./memory_handshake_fixture.ts";
import { ConnectionIds } from "./memory_ids_fixture.ts";
import { type Frame, FRAME_BYTES, FrameWriter, isSealed, keyFrom, LongType, readFrames } from "./memory_packet_fixture.ts";
import { seal, SEAL_BYTES, SHORT_OVERHEAD_BYTES } from "./memory_packet_fixture.ts";
import { ReceivedNumbers, Recovery } from "./memory_recovery_fixture.ts";
import { ReceiveSide, SendSide } from "./memory_streams_fixture.ts";
import { StreamTable } from "./memory_stream_table_fixture.ts";

const FIRST_PACKET_BYTES = 1200;
const RESET_TOKEN_BYTES = 16;
const RESET_BYTES_MIN = 5 + RESET_TOKEN_BYTES;
const LONG_OVERHEAD_MAX = 128;
const CRYPTO_WINDOW = 1_000_000;
const REASON_BYTES_MAX = 200;
const QUIC_VERSION = 1;
/** Application codes are hidden from handshake packets (RFC 9000 §10.2.3). */
const APPLICATION_ERROR = 0x0c;
const PROTOCOL_VIOLATION = 0x0a;

/** Offsets of the sockaddr slots of one packet. */
interface Slots {
  readonly from: number;
  readonly to: number;
}
type PathEvent = NonNullable<ReturnType<EngineConnection["pathEvent"]>>;
type Phase = "handshake" | "established" | "draining" | "closed";

export interface MemoryConnectionOptions {
  readonly engine: MemoryEngine;
  readonly profile: MemoryProfile;
  readonly expected: ExpectedName;
  readonly sourceId: Uint8Array;
  /** A server's, for {@linkcode sourceId}. */
  readonly resetToken: Uint8Array | null;
  /** The client's first destination; a server learns it from the first packet. */
  readonly firstDestination: Uint8Array | null;
  readonly random: number;
  readonly localAddress: Uint8Array;
  readonly peerAddress: Uint8Array;
}

export class MemoryConnection implements EngineConnection {
  readonly ids: ConnectionIds;
  readonly streams: StreamTable;
  readonly recovery: Recovery;
  isFreed = false;
  /** Packets whose seal was not that of this connection. */
  undecryptable = 0;
  readonly #options: MemoryConnectionOptions;
  readonly #isServer: boolean;
  readonly #received = new ReceivedNumbers();
  readonly #cryptoOut = new SendSide(CRYPTO_WINDOW);
  readonly #cryptoIn = new ReceiveSide(CRYPTO_WINDOW);
  readonly #messages = new MessageReader();
  readonly #writer: FrameWriter;
  readonly #datagramsOut: Uint8Array[] = [];
  readonly #datagramsIn: Uint8Array[] = [];
  #datagramsReceived = 0;
  #phase: Phase = "handshake";
  #peer: TransportHello | null = null;
  #protocol = "";
  #certificate: CertificateSummary | null = null;
  #verifyError: { readonly reason: string; readonly offered: CertificateSummary | null } | null = null;
  #localError: CloseInfo | null = null;
  #peerError: CloseInfo | null = null;
  #timedOut = false;
  #wasEstablished = false;
  #longKey: number | null;
  #shortKey: number | null = null;
  #clientRandom = 0;
  #token: Uint8Array = new Uint8Array(0);
  #peerAddress: Uint8Array;
  #localAddress: Uint8Array;
  #pathEvents: PathEvent[] = [];
  #needsAck = false;
  #pending: Frame[] = [];
  #packetBytes = FIRST_PACKET_BYTES;
  #probeBytes: number[] = [];
  #datagramNext = true;
  #packetsReceived = 0;
  #bytesReceived = 0;
  #idleAtMs: number;
  #sentSinceReceived = false;
  #drainedAtMs = Infinity;

  constructor(options: MemoryConnectionOptions) {
    const { engine, profile, firstDestination } = options;
    this.#options = options;
    this.#isServer = profile.options.side === "server";
    this.ids = new ConnectionIds(options.sourceId, firstDestination);
    this.#longKey = firstDestination === null ? null : keyFrom(firstDestination);
    this.#peerAddress = options.peerAddress;
    this.#localAddress = options.localAddress;
    this.#writer = new FrameWriter(engine.arena.bytes, engine.arena.view);
    this.streams = new StreamTable(this.#isServer, profile.limits);
    this.recovery = new Recovery(FIRST_PACKET_BYTES, (frame) => this.#onAcked(frame), (frame) => this.#onLost(frame));
    this.#idleAtMs = engine.nowMs + profile.options.transport.idleTimeoutMs;
    if (!this.#isServer) {
      const { protocols } = profile.options;
      this.#clientRandom = options.random;
      this.#say({ kind: "client-hello", random: options.random, protocols, transport: this.#hello() });
    }
  }

  // Packets in.

  recv(packet: number, length: number, fromAddress: number, toAddress: number): number {
    if (this.#phase === "closed" || this.#phase === "draining") return EngineError.done;
    const { arena } = this.#options.engine;
    this.#bytesReceived += length;
    const end = packet + length;
    const slots = { from: fromAddress, to: toAddress };
    for (let at = packet; at < end;) {
      const next = (arena.bytes[at] as number) >= 0x80 ? this.#readLong(at, end, slots) : this.#readShort(at, end, slots);
      if (next < 0) {
        if (this.#isServer && this.#packetsReceived === 0) {
          this.#phase = "closed";
          return EngineError.cryptoFail;
        }
        if (length >= RESET_BYTES_MIN && this.ids.isReset(arena.bytes.slice(end - RESET_TOKEN_BYTES, end))) this.#phase = "closed";
        else this.undecryptable++;
        break;
      }
      at = next;
    }
    return length;
  }

  #readLong(at: number, end: number, slots: Slots): number {
    const { bytes, view } = this.#options.engine.arena;
    const start = at;
    if (at + 8 > end || view.getUint32(at + 1) !== QUIC_VERSION) return -1;
    const type = ((bytes[at] as number) >> 4) & 3;
    const destinationLength = bytes[at + 5] as number;
    const destination = bytes.slice(at + 6, at + 6 + destinationLength);
    at += 6 + destinationLength;
    const sourceLength = bytes[at] as number;
    const source = bytes.slice(at + 1, at + 1 + sourceLength);
    at += 1 + sourceLength;
    if (type === LongType.retry) return this.#readRetry(start, at, end, source);
    if (type === LongType.initial) at += 2 + (view.getUint16(at) & 0x3fff);
    if (at + 6 + SEAL_BYTES > end) return -1;
    const body = view.getUint16(at) & 0x3fff;
    const from = at + 6, to = at + 2 + body - SEAL_BYTES;
    if (to < from || to + SEAL_BYTES > end) return -1;
    const key = this.#longKey ?? keyFrom(destination);
    if (!isSealed(view, start, to, key)) return -1;
    this.#longKey = key;
    this.ids.learn(source);
    this.#readBody(view.getUint32(at + 2), from, to, slots);
    return to + SEAL_BYTES;
  }

  #readShort(at: number, end: number, slots: Slots): number {
    const { bytes, view } = this.#options.engine.arena;
    const from = at + SHORT_OVERHEAD_BYTES - SEAL_BYTES, to = end - SEAL_BYTES;
    // As in TLS, a server reads nothing of the application before the client has finished.
    if (this.#shortKey === null || to < from || (this.#isServer && this.#phase === "handshake")) return -1;
    if (!isSealed(view, at, to, this.#shortKey)) return -1;
    if (!this.ids.isOurs(bytes.slice(at + 1, from - 4))) {
      this.close(false, PROTOCOL_VIOLATION, "a retired connection ID");
      return end;
    }
    this.#readBody(view.getUint32(from - 4), from, to, slots);
    return end;
  }

  /** RFC 9000 §17.2.5: the first packet goes out again, to another ID and with the token. */
  #readRetry(start: number, at: number, end: number, source: Uint8Array): number {
    const { bytes, view } = this.#options.engine.arena;
    const to = end - 2 * SEAL_BYTES;
    if (this.#isServer || this.#packetsReceived > 0 || this.#token.length > 0 || to <= at || this.#longKey === null) return -1;
    if (!isSealed(view, start, to, this.#longKey)) return -1;
    this.#token = bytes.slice(at, to);
    this.#longKey = keyFrom(source);
    this.ids.redirect(source);
    this.recovery.restart();
    return end;
  }

  #readBody(number: number, from: number, to: number, slots: Slots): void {
    const { engine } = this.#options;
    const { bytes, view } = engine.arena;
    this.#packetsReceived++;
    const frames = readFrames(bytes, view, from, to);
    if (frames === null) return this.close(false, 0x07, "a frame that cannot be read");
    for (const { kind } of frames) if (kind !== "ack" && kind !== "close") this.#needsAck = true;
    this.#idleAtMs = engine.nowMs + this.#idleMs;
    this.#sentSinceReceived = false;
    if (this.#received.has(number)) return;
    if (number > this.#received.largest) this.#follow(slots);
    this.#received.add(number);
    for (const frame of frames) {
      const failed = this.#onFrame(frame);
      if (failed < 0) return this.close(false, -failed, `a frame was refused: ${frame.kind}`);
    }
    this.streams.congestionRoom = this.#congestionRoom();
  }

  /** The newest packet shows where the peer is, and by which of our addresses it reaches us (RFC 9000 §9.3). */
  #follow({ from, to }: Slots): void {
    const { bytes } = this.#options.engine.arena;
    if (!isSlot(bytes, to, this.#localAddress)) this.#localAddress = bytes.slice(to, to + SOCKADDR_SLOT_BYTES);
    if (isSlot(bytes, from, this.#peerAddress)) return;
    const peer = bytes.slice(from, from + SOCKADDR_SLOT_BYTES);
    if (this.#isServer && this.#phase === "established") {
      for (const kind of ["new", "validated", "migrated"] as const) this.#pathEvents.push({ kind, peer });
    }
    this.#peerAddress = peer;
  }

  #onFrame(frame: Frame): number {
    switch (frame.kind) {
      case "ack":
        return this.recovery.onAck(frame.ranges, this.#options.engine.nowMs) ? 0 : EngineError.invalidFrame;
      case "crypto":
        this.#cryptoIn.write(frame.offset, frame.bytes, false);
        this.#readMessages();
        return 0;
      case "datagram":
        if (this.#datagramsIn.length >= this.#options.profile.options.transport.datagramQueueMax) this.#datagramsIn.shift();
        this.#datagramsIn.push(frame.bytes);
        this.#datagramsReceived++;
        return 0;
      case "new-id":
        this.ids.onNew(frame, this.#pending);
        return 0;
      case "retire-id":
        this.ids.onRetired(frame.sequence);
        return 0;
      case "close":
        this.#peerError = { isApplication: frame.isApplication, code: frame.code, reason: frame.reason };
        this.#drain();
        return 0;
      default:
        return this.streams.onFrame(frame);
    }
  }

  // The handshake.

  #readMessages(): void {
    const buffer = new Uint8Array(65_536);
    for (let count = this.#cryptoIn.read(buffer); count > 0; count = this.#cryptoIn.read(buffer)) {
      for (const message of this.#messages.take(buffer.subarray(0, count))) this.#onMessage(message);
    }
  }

  #onMessage(message: HandshakeMessage): void {
    const { engine, profile, expected, random } = this.#options;
    const { verify, protocols, identity } = profile.options;
    const own = decodeCertificate(identity?.certificateChainPem ?? null);
    if (message.kind === "client-hello") {
      const protocol = protocols.find((one) => message.protocols.includes(one));
      if (protocol === undefined) return this.close(false, Alert.noProtocol, "");
      this.#protocol = protocol;
      this.#clientRandom = message.random;
      this.#learnTransport(message.transport, random);
      return this.#say({ kind: "server-hello", random, protocol, transport: this.#hello(), certificate: own });
    }
    const verdict = verifyPeer(message.certificate, verify, message.kind === "server-hello" ? expected : null, engine.wallMs);
    this.#certificate = verdict.verified;
    if (verdict.failure !== null) {
      const { reason, alert, offered } = verdict.failure;
      if (offered !== null) this.#verifyError = { reason, offered };
      return this.close(false, alert, "");
    }
    if (message.kind === "server-hello") {
      this.#protocol = message.protocol;
      this.#learnTransport(message.transport, message.random);
      this.#say({ kind: "client-finished", certificate: own });
    } else this.#pending.push({ kind: "handshake-done" });
    this.#establish();
  }

  #learnTransport(transport: TransportHello, serverRandom: number): void {
    this.#peer = transport;
    this.streams.begin(transport.streams);
    this.ids.peerMax = transport.idsMax;
    if (transport.resetToken !== null) this.ids.learnToken(Uint8Array.from(transport.resetToken));
    this.#shortKey = Math.imul(this.#clientRandom ^ 0x2545f491, 31) ^ serverRandom;
  }

  #establish(): void {
    this.#phase = "established";
    this.#wasEstablished = true;
    const { transport } = this.#options.profile.options;
    if (!transport.discoverPathMtu) return;
    const largest = Math.min(transport.udpPayloadSendMaxBytes, this.#peer?.packetBytesMax ?? FIRST_PACKET_BYTES);
    this.#probeBytes = [largest, 1452, 1350].filter((bytes, at) => bytes > FIRST_PACKET_BYTES && (at === 0 || bytes < largest));
  }

  #say(message: HandshakeMessage): void {
    this.#cryptoOut.take(encodeMessage(message), false);
  }

  #hello(): TransportHello {
    const { options, limits } = this.#options.profile;
    const { idleTimeoutMs, udpPayloadRecvMaxBytes, activeConnectionIdLimit } = options.transport;
    const { resetToken } = this.#options;
    return {
      idleTimeoutMs,
      packetBytesMax: udpPayloadRecvMaxBytes,
      streams: limits,
      idsMax: activeConnectionIdLimit,
      resetToken: resetToken === null ? null : [...resetToken],
    };
  }

  get #idleMs(): number {
    const own = this.#options.profile.options.transport.idleTimeoutMs;
    return Math.min(own, this.#peer?.idleTimeoutMs ?? own);
  }

  // Packets out.

  send(packet: number, capacity: number): number {
    const { engine } = this.#options;
    if (this.#phase === "closed" || this.#phase === "draining") return EngineError.done;
    const { bytes } = engine.arena;
    const length = this.#localError !== null ? this.#writeClose(packet, this.#localError) : this.#writeNext(packet, capacity);
    if (length <= 0) return EngineError.done;
    bytes.set(this.#peerAddress, engine.sendTo);
    bytes.set(this.#localAddress, engine.sendFrom);
    return length;
  }

  #writeNext(packet: number, capacity: number): number {
    this.streams.congestionRoom = this.#congestionRoom();
    const maySend = this.recovery.probes > 0 || this.recovery.room >= this.#packetBytes;
    const isLong = this.#phase === "handshake" || this.#cryptoOut.isFlushable;
    const frames: Frame[] = [];
    if (this.#needsAck && (!isLong || this.ids.isKnown)) frames.push({ kind: "ack", ranges: this.#received.ranges });
    if (isLong) {
      const part = maySend
        ? this.#cryptoOut.next(FIRST_PACKET_BYTES - LONG_OVERHEAD_MAX - FRAME_BYTES.ack - this.#token.length)
        : null;
      if (part !== null) frames.push({ kind: "crypto", ...part });
      if (part === null && maySend && this.recovery.probes > 0) frames.push({ kind: "ping" });
      return frames.length === 0 ? 0 : this.#writeLong(packet, frames);
    }
    const probe = maySend ? this.#probeBytes[0] : undefined;
    if (probe !== undefined && probe <= capacity && frames.length === 0) {
      this.#probeBytes = [];
      return this.#writeShort(packet, [{ kind: "probe", bytes: probe }], probe);
    }
    if (maySend) {
      this.#fill(frames, Math.min(capacity, this.#packetBytes) - SHORT_OVERHEAD_BYTES - (frames.length > 0 ? FRAME_BYTES.ack : 0));
    }
    return frames.length === 0 ? 0 : this.#writeShort(packet, frames, 0);
  }

  /** Control frames first, then datagrams and streams by turns. */
  #fill(frames: Frame[], room: number): void {
    if (this.streams.hasControl) this.#pending.push(...this.streams.takeControl());
    let left = room;
    for (let first = this.#pending[0]; first !== undefined; first = this.#pending[0]) {
      const size = first.kind === "new-id" ? FRAME_BYTES.newId : FRAME_BYTES.control;
      if (size > left) return;
      left -= size;
      frames.push(first);
      this.#pending.shift();
    }
    const isDatagramFirst = this.#datagramNext && this.#datagramsOut.length > 0;
    this.#datagramNext = !this.#datagramNext;
    if (isDatagramFirst || !this.streams.hasData) {
      for (let first = this.#datagramsOut[0]; first !== undefined; first = this.#datagramsOut[0]) {
        if (first.length + FRAME_BYTES.datagram > left) break;
        left -= first.length + FRAME_BYTES.datagram;
        frames.push({ kind: "datagram", bytes: first });
        this.#datagramsOut.shift();
      }
    }
    while (left > FRAME_BYTES.stream && this.streams.hasData) {
      const data = this.streams.takeData(left - FRAME_BYTES.stream);
      if (data === null || data.kind !== "stream") break;
      left -= data.bytes.length + FRAME_BYTES.stream;
      frames.push(data);
    }
    if (frames.length === 0 && this.recovery.probes > 0) frames.push({ kind: "ping" });
  }

  #writeLong(packet: number, frames: readonly Frame[]): number {
    const { view } = this.#options.engine.arena;
    const writer = this.#writer;
    const isInitial = this.#isServer ? this.recovery.nextNumber === 0 : !this.ids.isKnown;
    writer.at = packet;
    writer.u8(0xc3 | ((isInitial ? LongType.initial : LongType.handshake) << 4));
    writer.u32(QUIC_VERSION);
    for (const id of [this.ids.destination, this.ids.source]) {
      writer.u8(id.length);
      writer.bytes(id);
    }
    if (isInitial) {
      writer.u16(0x4000 | this.#token.length);
      writer.bytes(this.#token);
    }
    const lengthAt = writer.at;
    writer.u16(0);
    writer.u32(this.recovery.nextNumber);
    for (const frame of frames) writer.frame(frame);
    // RFC 9000 §14.1: padding is frames, too.
    while (isInitial && writer.at - packet < FIRST_PACKET_BYTES - SEAL_BYTES) writer.u8(0);
    view.setUint16(lengthAt, 0x4000 | (writer.at + SEAL_BYTES - lengthAt - 2));
    return this.#finish(packet, frames, this.#longKey ?? 0);
  }

  #writeShort(packet: number, frames: readonly Frame[], length: number): number {
    const writer = this.#writer;
    writer.at = packet;
    writer.u8(0x43);
    writer.bytes(this.ids.destination);
    writer.u32(this.recovery.nextNumber);
    for (const frame of frames) writer.frame(frame);
    while (writer.at - packet < length - SEAL_BYTES) writer.u8(0);
    return this.#finish(packet, frames, this.#shortKey ?? 0);
  }

  #finish(packet: number, frames: readonly Frame[], key: number): number {
    const { engine } = this.#options;
    const end = this.#writer.at;
    seal(engine.arena.view, packet, end, key);
    const length = end + SEAL_BYTES - packet;
    this.#needsAck = false;
    if (!this.#sentSinceReceived && frames.some((frame) => frame.kind !== "ack")) {
      this.#sentSinceReceived = true;
      this.#idleAtMs = engine.nowMs + this.#idleMs;
    }
    this.recovery.onSent(frames, length, engine.nowMs);
    return length;
  }

  #writeClose(packet: number, error: CloseInfo): number {
    const frame: Frame = { kind: "close", ...error };
    const length = this.#phase === "established" ? this.#writeShort(packet, [frame], 0) : this.#writeLong(packet, [frame]);
    this.#drain();
    return length;
  }

  #drain(): void {
    this.#phase = "draining";
    this.#drainedAtMs = this.#options.engine.nowMs + 3 * this.recovery.timeoutMs;
  }

  #congestionRoom(): number {
    return Math.max(0, this.recovery.room - this.streams.unsentBytes);
  }

  #onAcked(frame: Frame): void {
    if (frame.kind === "crypto") this.#cryptoOut.ack(frame.offset, frame.offset + frame.bytes.length, false);
    else if (frame.kind === "probe") {
      this.#packetBytes = frame.bytes;
      this.recovery.setPacketBytes(frame.bytes);
    } else this.streams.onAcked(frame);
  }

  #onLost(frame: Frame): void {
    switch (frame.kind) {
      case "crypto":
        return this.#cryptoOut.lose(frame.offset, frame.offset + frame.bytes.length, false);
      case "probe":
        this.#probeBytes = [1452, 1350].filter((bytes) => bytes < frame.bytes && bytes > this.#packetBytes).slice(0, 1);
        return;
      case "handshake-done":
      case "new-id":
      case "retire-id":
        return void this.#pending.push(frame);
      default:
        return this.streams.onLost(frame);
    }
  }

  // Time.

  timeoutMs(): number {
    const at = this.#phase === "draining" ? this.#drainedAtMs : Math.min(this.#idleAtMs, this.recovery.deadlineMs);
    return this.#phase === "closed" || at === Infinity ? -1 : Math.max(0, at - this.#options.engine.nowMs);
  }

  onTimeout(): void {
    const { nowMs } = this.#options.engine;
    if (this.#phase === "closed") return;
    if (this.#phase === "draining") {
      if (nowMs >= this.#drainedAtMs) this.#phase = "closed";
      return;
    }
    if (nowMs >= this.#idleAtMs) {
      this.#phase = "closed";
      this.#timedOut = true;
      return;
    }
    if (nowMs >= this.recovery.deadlineMs) this.recovery.onTimeout();
  }

  // What the caller asks.

  isEstablished(): boolean {
    return this.#wasEstablished;
  }

  isClosed(): boolean {
    return this.#phase === "closed";
  }

  isDraining(): boolean {
    return this.#phase === "draining";
  }

  isTimedOut(): boolean {
    return this.#timedOut;
  }

  destinationId(): Uint8Array {
    return this.ids.destination;
  }

  applicationProtocol(): string {
    return this.#protocol;
  }

  serverName(): string {
    return "";
  }

  streamReadableNext(): number {
    return this.streams.readableNext();
  }

  streamWritableNext(): number {
    return this.streams.writableNext();
  }

  streamCapacity(stream: number): number {
    return this.streams.capacity(stream);
  }

  streamWantWrite(stream: number, length: number): number {
    return this.streams.wantWrite(stream, length);
  }

  streamRecv(stream: number, offset: number, capacity: number): number {
    const { engine } = this.#options;
    const count = this.streams.receive(stream, engine.arena.bytes.subarray(offset, offset + capacity));
    engine.streamFin = count >= 0 && this.streams.fin;
    if (count < EngineError.done) engine.streamErrorCode = this.streams.errorCode;
    return count;
  }

  streamSend(stream: number, offset: number, length: number, fin: boolean): number {
    const { engine } = this.#options;
    const count = this.streams.send(stream, engine.arena.bytes.subarray(offset, offset + length), fin);
    if (count < EngineError.done) engine.streamErrorCode = this.streams.errorCode;
    return count;
  }

  streamShutdown(stream: number, direction: "read" | "write", code: number): number {
    return this.streams.shutdown(stream, direction, code);
  }

  streamFinished(stream: number): boolean {
    return this.streams.finished(stream);
  }

  streamsLeft(): number {
    return this.streams.streamsLeft;
  }

  datagramSend(offset: number, length: number): number {
    const max = this.datagramMax();
    if (max < 0) return max;
    if (length > max) return EngineError.bufferTooShort;
    if (this.isDatagramQueueFull()) return EngineError.done;
    this.#datagramsOut.push(this.#options.engine.arena.bytes.slice(offset, offset + length));
    return 0;
  }

  datagramRecv(offset: number, capacity: number): number {
    const first = this.#datagramsIn.shift();
    if (first === undefined) return EngineError.done;
    if (first.length > capacity) return EngineError.bufferTooShort;
    this.#options.engine.arena.bytes.set(first, offset);
    return first.length;
  }

  datagramMax(): number {
    if (this.#peer === null) return EngineError.invalidState;
    return this.#packetBytes - SHORT_OVERHEAD_BYTES - FRAME_BYTES.datagram;
  }

  datagramQueueLength(): number {
    return this.#datagramsOut.length;
  }

  isDatagramQueueFull(): boolean {
    return this.#datagramsOut.length >= this.#options.profile.options.transport.datagramQueueMax;
  }

  keepAlive(): void {
    this.#pending.push({ kind: "ping" });
  }

  close(isApplication: boolean, code: number, reason: string): void {
    if (this.#phase === "closed" || this.#phase === "draining" || this.#localError !== null) return;
    this.#localError = isApplication && this.#phase === "handshake"
      ? { isApplication: false, code: APPLICATION_ERROR, reason: "" }
      : { isApplication, code, reason: reason.slice(0, REASON_BYTES_MAX) };
    if (this.#packetsReceived === 0) this.#phase = "closed";
  }

  peerError(): CloseInfo | null {
    return this.#peerError;
  }

  localError(): CloseInfo | null {
    return this.#localError;
  }

  peerCertificate(): CertificateSummary | null {
    return this.#certificate;
  }

  peerAuthorities(): readonly CertificateSummary[] {
    return [];
  }

  verifyError(): { readonly reason: string; readonly offered: CertificateSummary | null } | null {
    return this.#verifyError;
  }

  exportKey(label: string, context: Uint8Array, length: number): Uint8Array | null {
    const shared = this.#shortKey;
    if (shared === null) return null;
    const start = keyFrom(new TextEncoder().encode(label), context) ^ shared;
    return Uint8Array.from({ length }, (_, at) => Math.imul(start ^ at, 0x01000193) >>> 24);
  }

  tlsDescription(): { readonly group: string; readonly cipher: string } {
    return { group: "simulated group", cipher: "simulated cipher" };
  }

  newSourceId(id: Uint8Array, resetToken: Uint8Array): number {
    return this.ids.issue(id, resetToken, this.#pending);
  }

  retiredSourceIds(): Uint8Array[] {
    return this.ids.takeRetired();
  }

  sourceIdsLeft(): number {
    return this.ids.room;
  }

  pathEvent(): PathEvent | null {
    return this.#pathEvents.shift() ?? null;
  }

  peerAddress(slot: number): boolean {
    this.#options.engine.arena.bytes.set(this.#peerAddress, slot);
    return true;
  }

  stats(): ConnectionStats {
    const { recovery } = this;
    return {
      packetsReceived: this.#packetsReceived,
      packetsSent: recovery.packetsSent,
      packetsLost: recovery.packetsLost,
      bytesReceived: this.#bytesReceived,
      bytesSent: recovery.bytesSent,
      datagramsReceived: this.#datagramsReceived,
      rttMs: recovery.rttMs,
      congestionWindowBytes: recovery.windowBytes,
      pathMtuBytes: this.#packetBytes,
    };
  }

  free(): void {
    this.isFreed = true;
    this.#options.engine.connections.delete(this);
  }
}

function isSlot(bytes: Uint8Array, at: number, slot: Uint8Array): boolean {
  for (let i = 0; i < slot.length; i++) if (bytes[at + i] !== slot[i]) return false;
  return true;
}
