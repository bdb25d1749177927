/**
 * A connection that another worker carries, in the form of the engine's connections: what is done to it becomes records, what comes
 * from it waits here, bounded by the credit that was given. Those who relay see no difference.
 */
import { assert } from "../../../base/mod.ts";
import {
  type CertificateSummary,
  type CloseInfo,
  type ConnectionStats,
  type Ending,
  type Engine,
  type EngineConnection,
  EngineError,
} from "../../../core/quic/mod.ts";
import type { Link } from "./link.ts";
import { type Close, type Established, type Facts, firstFacts, RecordKind } from "./records.ts";
import { RemoteStreams } from "./remote_streams.ts";

export class RemoteEngine implements EngineConnection {
  readonly streams: RemoteStreams;
  readonly #engine: Engine;
  readonly #link: Link;
  readonly #connection: number;
  readonly #established: Established;
  #address: Uint8Array;
  #facts: Facts;
  #localError: CloseInfo | null = null;
  #ending: Ending | null = null;

  constructor(engine: Engine, link: Link, connection: number, established: Established) {
    this.#engine = engine;
    this.#link = link;
    this.#connection = connection;
    this.streams = new RemoteStreams(engine, link, connection);
    this.#established = established;
    this.#address = Uint8Array.from(established.address);
    this.#facts = firstFacts(established);
  }

  // What came from the other worker.

  handleFacts(facts: Facts): void {
    this.#facts = facts;
  }

  handleAddress(address: Uint8Array): void {
    this.#address = address;
  }

  handleClosed(ending: Ending): void {
    this.#ending = ending;
  }

  // What those who relay do.

  streamCapacity(stream: number): number {
    return this.streams.capacity(stream);
  }

  streamWantWrite(stream: number, length: number): number {
    return this.streams.wantWrite(stream, length);
  }

  streamRecv(stream: number, offset: number, capacity: number): number {
    return this.streams.recv(stream, offset, capacity);
  }

  streamSend(stream: number, offset: number, length: number, fin: boolean): number {
    return this.streams.send(stream, offset, length, fin, this.#facts.streamsOpened);
  }

  streamShutdown(stream: number, direction: "read" | "write", code: number): number {
    return this.streams.shutdown(stream, direction, code);
  }

  streamFinished(stream: number): boolean {
    return this.streams.isFinished(stream);
  }

  streamsLeft(): number {
    return this.#facts.streamsOpened - this.streams.opened;
  }

  datagramSend(offset: number, length: number): number {
    const sent = this.sendDatagramOf(0, offset, length);
    return sent > 0 ? 0 : sent;
  }

  /** The same for a datagram of another peer, whose number the carrier shares its connections' room by. See {@linkcode FarBacklog}. */
  sendDatagramOf(sender: number, offset: number, length: number): number {
    const { datagramMax } = this.#facts;
    if (length > datagramMax) return datagramMax < 0 ? datagramMax : EngineError.bufferTooShort;
    const { bytes } = this.#engine.arena;
    // What finds the ring full is counted there, what is taken when it leaves.
    this.#link.offer(RecordKind.datagram, this.#connection, sender, bytes, offset, length);
    return 1;
  }

  datagramMax(): number {
    return this.#facts.datagramMax;
  }

  datagramQueueLength(): number {
    return 0;
  }

  isDatagramQueueFull(): boolean {
    return this.#link.isCongested;
  }

  keepAlive(): void {
    this.#link.send(RecordKind.keepAlive, this.#connection);
  }

  close(isApplication: boolean, code: number, reason: string): void {
    if (this.#localError !== null) return;
    this.#localError = { isApplication, code, reason };
    const close: Close = { isApplication, code, reason };
    this.#link.tell(RecordKind.close, this.#connection, 0, close);
  }

  // What it is.

  isEstablished(): boolean {
    return true;
  }

  isClosed(): boolean {
    return this.#ending !== null;
  }

  isDraining(): boolean {
    return this.#ending !== null;
  }

  isTimedOut(): boolean {
    return this.#ending?.by === "timeout";
  }

  peerError(): CloseInfo | null {
    return this.#ending?.by === "peer" ? this.#ending.info : null;
  }

  localError(): CloseInfo | null {
    return this.#localError;
  }

  applicationProtocol(): string {
    return this.#established.protocol;
  }

  serverName(): string {
    return this.#established.serverName;
  }

  peerCertificate(): CertificateSummary | null {
    return this.#established.certificate;
  }

  peerAuthorities(): readonly CertificateSummary[] {
    return this.#established.authorities;
  }

  verifyError(): null {
    return null;
  }

  exportKey(): Uint8Array | null {
    const { exported } = this.#established;
    return exported === null ? null : Uint8Array.from(exported);
  }

  tlsDescription(): { readonly group: string; readonly cipher: string } {
    return this.#established.tls;
  }

  peerAddress(slot: number): boolean {
    this.#engine.arena.bytes.set(this.#address, slot);
    return true;
  }

  stats(): ConnectionStats {
    return this.#facts;
  }

  free(): void {
    this.streams.clear();
  }

  // What only an endpoint does, and this connection has one elsewhere.

  recv(): number {
    return notHere();
  }

  send(): number {
    return notHere();
  }

  timeoutMs(): number {
    return -1;
  }

  onTimeout(): void {}

  destinationId = () => new Uint8Array(0);

  streamReadableNext(): number {
    return -1;
  }

  streamWritableNext(): number {
    return -1;
  }

  datagramRecv(): number {
    return EngineError.done;
  }

  newSourceId(): number {
    return notHere();
  }

  sourceIdsLeft(): number {
    return 0;
  }

  retiredSourceIds(): readonly Uint8Array[] {
    return [];
  }

  pathEvent = () => null;
}

function notHere(): never {
  assert(false, "a connection of another worker was used as one of this one");
}
