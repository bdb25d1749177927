/**
 * {@linkcode EngineConnection} over one quiche_conn. The handle is owned: after {@linkcode QuicheConnection.free} every call
 * is a programming error that stops here and not in the library.
 */
import type { CertificateSummary, CloseInfo, ConnectionStats, EngineConnection } from "../../src/core/quic/engine.ts";
import { addressOf, big } from "../address.ts";
import type { QuicheContext, QuicheLibrary } from "./engine.ts";
import { PATH_STATS, STATS } from "./layout.ts";
import { nextReadable, readStream } from "./stream_reads.ts";
import { ShutdownDirection } from "./symbols.ts";
import { wordAt } from "./words.ts";

const CLOSE_REASON_BYTES_MAX = 200, CHAIN_BYTES_MAX = 65_536;
const PATH_EVENTS = ["new", "validated", "failed", "closed", "reused", "migrated", "mtu"] as const;
const AF_INET = 2, SOCKADDR_STORAGE_BYTES = 128, SOCKADDR_SLOT_BYTES = 32;
const NO_IDS: readonly Uint8Array[] = [];

/** Made once: to make one costs more than to use it. */
const DECODER = new TextDecoder();
/** Room for an answer of the library within one call: a room for each would be most of what a handshake allocates. */
const ANSWER = new Uint8Array(CHAIN_BYTES_MAX);
let answerAddress = 0n;
const NOTHING = new Uint8Array(0);

export class QuicheConnection implements EngineConnection {
  readonly #context: QuicheContext;
  readonly #library: QuicheLibrary;
  readonly #handle: bigint;
  #isFreed = false;

  constructor(context: QuicheContext, handle: bigint) {
    this.#context = context;
    this.#library = context.library;
    this.#handle = handle;
  }

  /** The handle, while it is ours. */
  get #live(): bigint {
    if (this.#isFreed) throw new Error("postern: internal error: a freed connection was used");
    return this.#handle;
  }

  recv(packet: number, length: number, fromAddress: number, toAddress: number): number {
    const context = this.#context;
    if (fromAddress !== context.recvFrom || toAddress !== context.recvTo) nameAddresses(context, fromAddress, toAddress);
    return this.#library.quiche_conn_recv(this.#live, context.address.at(packet), big(length), context.scratch.recvInfoAddress);
  }

  send(packet: number, capacity: number): number {
    const { address, scratch } = this.#context;
    return this.#library.quiche_conn_send(this.#live, address.at(packet), big(capacity), scratch.sendInfoAddress);
  }

  timeoutMs(): number {
    return this.#library.quiche_conn_timeout_as_millis(this.#live);
  }

  onTimeout(): void {
    this.#library.quiche_conn_on_timeout(this.#live);
  }

  isEstablished(): boolean {
    return this.#library.quiche_conn_is_established(this.#live);
  }

  isClosed(): boolean {
    return this.#library.quiche_conn_is_closed(this.#live);
  }

  isDraining(): boolean {
    return this.#library.quiche_conn_is_draining(this.#live);
  }

  isTimedOut(): boolean {
    return this.#library.quiche_conn_is_timed_out(this.#live);
  }

  destinationId(): Uint8Array {
    return this.#bytesOf("quiche_conn_destination_id");
  }

  applicationProtocol(): string {
    return DECODER.decode(this.#bytesOf("quiche_conn_application_proto"));
  }

  serverName(): string {
    return DECODER.decode(this.#bytesOf("quiche_conn_server_name"));
  }

  streamReadableNext(): number {
    return nextReadable(this.#library, this.#live);
  }

  streamWritableNext(): number {
    return this.#library.postern_conn_writable_next(this.#live);
  }

  streamCapacity(stream: number): number {
    return this.#library.quiche_conn_stream_capacity(this.#live, big(stream));
  }

  streamWantWrite(stream: number, length: number): number {
    return this.#library.quiche_conn_stream_writable(this.#live, big(stream), big(length));
  }

  streamRecv(stream: number, offset: number, capacity: number): number {
    return readStream(this.#library, this.#context, this.#live, big(stream), this.#context.streamChunk.at(offset), capacity);
  }

  streamSend(stream: number, offset: number, length: number, fin: boolean): number {
    const { scratch, streamChunk } = this.#context;
    return this.#library.quiche_conn_stream_send(
      this.#live,
      big(stream),
      streamChunk.at(offset),
      big(length),
      fin,
      scratch.valuesAddress + 8n,
    );
  }

  streamShutdown(stream: number, direction: "read" | "write", code: number): number {
    const way = ShutdownDirection[direction];
    return this.#library.quiche_conn_stream_shutdown(this.#live, big(stream), way, big(code));
  }

  streamFinished(stream: number): boolean {
    return this.#library.quiche_conn_stream_finished(this.#live, big(stream));
  }

  streamsLeft(): number {
    return Number(this.#library.quiche_conn_peer_streams_left_bidi(this.#live));
  }

  datagramSend(offset: number, length: number): number {
    const sent = this.#library.quiche_conn_dgram_send(this.#live, this.#context.datagramOut.at(offset), big(length));
    return sent < 0 ? sent : 0;
  }

  datagramRecv(offset: number, capacity: number): number {
    return this.#library.quiche_conn_dgram_recv(this.#live, this.#context.datagramIn.at(offset), big(capacity));
  }

  datagramMax(): number {
    return this.#library.quiche_conn_dgram_max_writable_len(this.#live);
  }

  datagramQueueLength(): number {
    return this.#library.quiche_conn_dgram_send_queue_len(this.#live);
  }

  isDatagramQueueFull(): boolean {
    return this.#library.quiche_conn_is_dgram_send_queue_full(this.#live);
  }

  keepAlive(): void {
    this.#library.quiche_conn_send_ack_eliciting(this.#live);
  }

  close(isApplication: boolean, code: number, reason: string): void {
    const bytes = new TextEncoder().encode(reason).subarray(0, CLOSE_REASON_BYTES_MAX);
    this.#library.quiche_conn_close(this.#live, isApplication, big(code), addressOf(bytes), big(bytes.length));
  }

  peerError(): CloseInfo | null {
    const at = this.#context.scratch.valuesAddress;
    return this.#closeInfo(this.#library.quiche_conn_peer_error(this.#live, at + 16n, at + 24n, at, at + 8n));
  }

  localError(): CloseInfo | null {
    const at = this.#context.scratch.valuesAddress;
    return this.#closeInfo(this.#library.quiche_conn_local_error(this.#live, at + 16n, at + 24n, at, at + 8n));
  }

  peerCertificate(): CertificateSummary | null {
    const [leaf] = this.#peerChain();
    return leaf === undefined ? null : this.#context.summarize(leaf);
  }

  peerAuthorities(): readonly CertificateSummary[] {
    const [, ...others] = this.#peerChain();
    return others.map((der) => this.#context.summarize(der)).filter((summary) => summary !== null);
  }

  /** What the peer presented, leaf first, in DER; nothing when it was not verified. */
  #peerChain(): Uint8Array<ArrayBuffer>[] {
    const found: Uint8Array<ArrayBuffer>[] = [];
    if (this.#library.postern_conn_peer_verified(this.#live) !== 1) return found;
    const chain = this.#read(CHAIN_BYTES_MAX, (out, cap) => this.#library.postern_conn_peer_chain(this.#live, out, cap));
    const view = new DataView(chain.buffer, chain.byteOffset, chain.length);
    for (let at = 0; at + 4 <= chain.length;) {
      const length = view.getUint32(at, true);
      if (length > chain.length - at - 4) break;
      found.push(chain.slice(at + 4, at + 4 + length));
      at += 4 + length;
    }
    return found;
  }

  verifyError(): { readonly reason: string; readonly offered: CertificateSummary | null } | null {
    const reason = this.#readText(1024, (out, cap) => this.#library.postern_conn_verify_error(this.#live, out, cap));
    if (reason === "") return null;
    const der = this.#read(CHAIN_BYTES_MAX, (out, cap) => this.#library.postern_conn_offered_cert(this.#live, out, cap));
    return { reason, offered: der.length === 0 ? null : this.#context.summarize(der) };
  }

  exportKey(label: string, context: Uint8Array, length: number): Uint8Array | null {
    const name = new TextEncoder().encode(label);
    const out = new Uint8Array(length);
    const done = this.#library.postern_conn_export_key(
      this.#live,
      addressOf(name),
      big(name.length),
      addressOf(context),
      big(context.length),
      addressOf(out),
      big(length),
    );
    return done === length ? out : null;
  }

  tlsDescription(): { readonly group: string; readonly cipher: string } {
    return {
      group: this.#readText(64, (out, cap) => this.#library.postern_conn_group(this.#live, out, cap)),
      cipher: this.#readText(64, (out, cap) => this.#library.postern_conn_cipher(this.#live, out, cap)),
    };
  }

  /** Sets what the peer's certificate must name; before the first packet only. False when it is not a name. */
  expectName(name: string): boolean {
    const bytes = new TextEncoder().encode(name);
    return this.#library.postern_conn_expect_name(this.#live, addressOf(bytes), big(bytes.length)) >= 0;
  }

  peerAddress(slot: number): boolean {
    const { scratch, arena } = this.#context;
    if (!this.#activePath()) return false;
    const at = scratch.struct + PATH_STATS.peerAddr;
    arena.bytes.copyWithin(slot, at, at + SOCKADDR_SLOT_BYTES);
    return true;
  }

  newSourceId(id: Uint8Array, resetToken: Uint8Array): number {
    const context = this.#context;
    return this.#library.quiche_conn_new_scid(
      this.#live,
      wordAt(context, 0, id),
      big(id.length),
      wordAt(context, 1, resetToken),
      true,
      context.scratch.valuesAddress,
    );
  }

  sourceIdsLeft(): number {
    return this.#library.quiche_conn_scids_left(this.#live);
  }

  retiredSourceIds(): readonly Uint8Array[] {
    if (this.#library.quiche_conn_retired_scids(this.#live) === 0) return NO_IDS;
    const ids: Uint8Array[] = [];
    const { scratch } = this.#context;
    const iterator = this.#library.quiche_conn_retired_scid_iter(this.#live);
    while (this.#library.quiche_connection_id_iter_next(iterator, scratch.valuesAddress, scratch.valuesAddress + 8n)) {
      ids.push(this.#copy(...this.#span()));
    }
    this.#library.quiche_connection_id_iter_free(iterator);
    return ids;
  }

  pathEvent(): { readonly kind: typeof PATH_EVENTS[number]; readonly peer: Uint8Array } | null {
    const event = this.#library.quiche_conn_path_event_next(this.#live);
    if (event === 0n) return null;
    const kind = PATH_EVENTS[this.#library.quiche_path_event_type(event)] ?? "reused";
    const peer = kind === "mtu" || kind === "reused" ? new Uint8Array(0) : this.#pathPeer(event, kind);
    this.#library.quiche_path_event_free(event);
    return { kind, peer };
  }

  stats(): ConnectionStats {
    const { scratch, arena } = this.#context;
    const { view } = arena;
    const number = (offset: number) => Number(view.getBigUint64(scratch.struct + offset, true));
    this.#library.quiche_conn_stats(this.#live, scratch.structAddress);
    const totals = {
      packetsReceived: number(STATS.recv),
      packetsSent: number(STATS.sent),
      packetsLost: number(STATS.lost),
      bytesReceived: number(STATS.recvBytes),
      bytesSent: number(STATS.sentBytes),
      datagramsReceived: number(STATS.dgramRecv),
    };
    const hasPath = this.#activePath();
    return {
      ...totals,
      rttMs: hasPath ? number(PATH_STATS.rtt) / 1e6 : 0,
      congestionWindowBytes: hasPath ? number(PATH_STATS.cwnd) : 0,
      pathMtuBytes: hasPath ? number(PATH_STATS.pmtu) : 0,
    };
  }

  free(): void {
    if (this.#isFreed) return;
    this.#isFreed = true;
    this.#library.quiche_conn_free(this.#handle);
  }

  /** What a function gives that returns the length it needs; empty when that is more than `bytesMax` or an error. */
  #read(bytesMax: number, give: (out: bigint, cap: bigint) => number): Uint8Array<ArrayBuffer> {
    answerAddress ||= addressOf(ANSWER);
    const length = give(answerAddress, big(bytesMax));
    return length > 0 && length <= bytesMax ? ANSWER.slice(0, length) : NOTHING;
  }

  #readText(bytesMax: number, give: (out: bigint, cap: bigint) => number): string {
    return DECODER.decode(this.#read(bytesMax, give));
  }

  /** Fills the scratch structure with the figures of the path that packets take now. False when there is none. */
  #activePath(): boolean {
    const { scratch, arena } = this.#context;
    for (let path = 0; this.#library.quiche_conn_path_stats(this.#live, big(path), scratch.structAddress) === 0; path++) {
      if (arena.bytes[scratch.struct + PATH_STATS.active] !== 0) return true;
    }
    return false;
  }

  #bytesOf(what: "quiche_conn_destination_id" | "quiche_conn_application_proto" | "quiche_conn_server_name"): Uint8Array {
    const { valuesAddress } = this.#context.scratch;
    this.#library[what](this.#live, valuesAddress, valuesAddress + 8n);
    const [pointer, length] = this.#span();
    return length === 0 ? NOTHING : this.#copy(pointer, length);
  }

  /** Pointer and length that the last call left in the first two scratch values. */
  #span(): [bigint, number] {
    const { view } = this.#context.arena;
    const { values } = this.#context.scratch;
    return [view.getBigUint64(values, true), Number(view.getBigUint64(values + 8, true))];
  }

  #copy(pointer: bigint, length: number): Uint8Array<ArrayBuffer> {
    const from = Deno.UnsafePointer.create(pointer);
    const out = new Uint8Array(length);
    if (from !== null && length > 0) new Deno.UnsafePointerView(from).copyInto(out);
    return out;
  }

  #closeInfo(found: boolean): CloseInfo | null {
    if (!found) return null;
    const { view, bytes } = this.#context.arena;
    const { values } = this.#context.scratch;
    const isApplication = bytes[values + 16] !== 0;
    const code = Number(view.getBigUint64(values + 24, true));
    const [pointer, length] = this.#span();
    const reason = DECODER.decode(this.#copy(pointer, Math.min(length, CLOSE_REASON_BYTES_MAX)));
    return { isApplication, code, reason };
  }

  #pathPeer(event: bigint, kind: Exclude<typeof PATH_EVENTS[number], "reused" | "mtu">): Uint8Array {
    const { scratch, arena } = this.#context;
    const local = scratch.structAddress, peer = local + big(SOCKADDR_STORAGE_BYTES);
    const localLength = scratch.valuesAddress, peerLength = localLength + 8n;
    const read = {
      new: this.#library.quiche_path_event_new,
      validated: this.#library.quiche_path_event_validated,
      failed: this.#library.quiche_path_event_failed_validation,
      closed: this.#library.quiche_path_event_closed,
      migrated: this.#library.quiche_path_event_peer_migrated,
    }[kind];
    read(event, local, localLength, peer, peerLength);
    const at = scratch.struct + SOCKADDR_STORAGE_BYTES;
    return arena.bytes.slice(at, at + 32);
  }
}

/** Writes struct quiche_recv_info. Sockets keep their slots, so this is rare; a slot keeps its family. */
function nameAddresses(context: QuicheContext, from: number, to: number): void {
  const { arena, address, scratch } = context;
  const { view, bytes } = arena;
  const info = scratch.recvInfo;
  view.setBigUint64(info, address.at(from), true);
  view.setUint32(info + 8, bytes[from] === AF_INET ? 16 : 28, true);
  view.setBigUint64(info + 16, address.at(to), true);
  view.setUint32(info + 24, bytes[to] === AF_INET ? 16 : 28, true);
  context.recvFrom = from;
  context.recvTo = to;
}
