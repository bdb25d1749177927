/**
 * A local connection on a stream of its own (WIRE 7.3): OPEN, perhaps with what the client says behind it, then the RESULT, which is
 * read before the first byte that comes back.
 *
 *   opening ──OPEN sent──► asked ──accepted──► joined
 */
import { abortStream, type Connection, HeaderReader, sendWhole } from "../../core/quic/mod.ts";
import { AbortCode, decodeResult, encodeOpen, RESULT_MAX_BYTES } from "../../core/wire/mod.ts";
import { type BridgeContext, StreamBridge } from "../uplink/mod.ts";
import type { LocalClient } from "./local_client.ts";
import type { LocalTransport, LocalTransportOwner } from "./local_connection.ts";

export type LocalStreamContext = BridgeContext;

/** Where a stream is, and whether what the client says goes out before the answer is known. */
export interface StreamPlace {
  readonly connection: Connection;
  readonly stream: number;
  readonly isEager: boolean;
}

export class LocalStream implements LocalTransport {
  readonly #context: LocalStreamContext;
  readonly #client: LocalClient;
  readonly #owner: LocalTransportOwner;
  readonly #place: StreamPlace;
  readonly #bridge: StreamBridge;
  #header: HeaderReader | null;
  #service = "";
  #state: "opening" | "asked" | "joined" = "opening";
  #isAborted = false;

  constructor(context: LocalStreamContext, client: LocalClient, owner: LocalTransportOwner, place: StreamPlace) {
    this.#context = context;
    this.#client = client;
    this.#owner = owner;
    this.#place = place;
    this.#header = new HeaderReader(context.engine, context.chunkAt, RESULT_MAX_BYTES);
    this.#bridge = new StreamBridge(context, place.connection, place.stream, (_bridge, end) => owner.onOver(end));
  }

  get isEager(): boolean {
    return this.#place.isEager;
  }

  get bytesToService(): number {
    return this.#bridge.bytesFromSocket;
  }

  get bytesFromService(): number {
    return this.#bridge.bytesToSocket;
  }

  get isHalfClosed(): boolean {
    return this.#bridge.isHalfClosed;
  }

  /** Asks. The owner may be told that it is refused before this returns. */
  open(service: string): void {
    this.#service = service;
    this.#sendOpen();
  }

  onReady(): void {
    // Until the answer the bridge has no socket, unless what the client says goes ahead.
    if (this.#state === "joined" || this.isEager) this.#bridge.onReady();
  }

  onSocketError(): void {
    this.#bridge.onError();
  }

  onReadable(): void {
    if (this.#state === "asked") this.#readResult();
    else if (this.#state === "joined") this.#bridge.pumpToSocket();
  }

  onWritable(): void {
    if (this.#state === "opening") this.#sendOpen();
    else this.#bridge.pumpToStream();
  }

  abort(code: number): void {
    this.#isAborted = true;
    abortStream(this.#place.connection, this.#place.stream, code);
  }

  #sendOpen(): void {
    const { connection, stream, isEager } = this.#place;
    const { engine, chunkAt } = this.#context;
    const length = encodeOpen(engine.arena.bytes, chunkAt, { service: this.#service, agent: null });
    const progress = sendWhole(connection, stream, chunkAt, length, false);
    if (progress === "wait") return;
    if (progress === "limit") return this.#owner.onRefused("busy", "the server allows no further stream");
    if (progress === "failed") return this.#owner.onRefused("no-answer", "the stream could not be opened");
    this.#state = "asked";
    // The server holds it back until the backend has accepted.
    if (isEager && this.#client.socket !== null) this.#bridge.attachUpstream(this.#client.socket);
  }

  #readResult(): void {
    const header = this.#header;
    if (header === null || this.#isAborted) return;
    const { connection, stream } = this.#place;
    for (;;) {
      const result = decodeResult(header.bytes, 0, header.length);
      if (result.kind === "malformed") return this.#owner.onRefused("no-answer", `a malformed answer (${result.why})`);
      if (result.kind === "result") {
        if (result.code !== "accepted") return this.#owner.onRefused(result.code, result.reason);
        return this.#join(header.isAtEnd);
      }
      const progress = header.fill(connection, stream, result.bytes);
      if (progress === "need") return;
      if (progress !== "complete") return this.#owner.onRefused("no-answer", "the stream ended without an answer");
    }
  }

  #join(isAtEnd: boolean): void {
    this.#state = "joined";
    this.#header = null;
    if (isAtEnd) this.#bridge.noteStreamEnd();
    if (!this.#owner.onJoined()) return this.#bridge.abort(AbortCode.aborted);
    if (this.#client.socket !== null) this.#bridge.attach(this.#client.socket);
  }
}
