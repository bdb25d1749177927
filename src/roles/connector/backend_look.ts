/**
 * One backend's health: from time to time a connection to it, to one of its addresses after the other until one accepts; and where
 * it speaks HTTP, a request whose answer must have a status from 200 to 399.
 *
 *   waiting ──due──► connecting ──accepted──► (HTTP: asking ──status──►) waiting
 */
import { Timer } from "../../base/mod.ts";
import { formatEndpoint, TCP_AGAIN, TcpSocket, writeSockaddr } from "../../io/mod.ts";
import type { DialContext } from "./backend_dial.ts";
import * as limits from "./limits.ts";
import type { Backend, BackendHealth } from "./services.ts";

/** What looks share. */
export interface LookContext extends DialContext {
  /** Offset of {@linkcode LOOK_CHUNK_BYTES} bytes that are used within one call only. */
  readonly chunkAt: number;
}

/** Room for the longest request: a path and a host have their bounds in the configuration. */
export const LOOK_CHUNK_BYTES = 8_192;
const STATUS_LINE = /^HTTP\/1\.[01] ([0-9]{3})(?: |\r|\n)/;

export class BackendLook {
  readonly #context: LookContext;
  readonly #backend: Backend;
  readonly #onHealth: (health: BackendHealth) => void;
  readonly #onFailure: () => void;
  readonly #timer = new Timer((nowMs) => this.#onTimer(nowMs));
  #socket: TcpSocket | null = null;
  #isLooking = false;
  #nextAddress = 0;
  #failures = 0;
  #request: Uint8Array | null = null;
  #answer = "";

  /** `onFailure` is called for every look that fails, `onHealth` when enough of them did, and for every one that does not. */
  constructor(context: LookContext, backend: Backend, onHealth: (health: BackendHealth) => void, onFailure: () => void) {
    this.#context = context;
    this.#backend = backend;
    this.#onHealth = onHealth;
    this.#onFailure = onFailure;
  }

  begin(nowMs: number): void {
    this.#nextAddress = 0;
    this.#isLooking = true;
    this.#tryNext(nowMs);
  }

  stop(): void {
    this.#context.reactor.cancelTimer(this.#timer);
    this.#socket?.reset();
    this.#socket = null;
  }

  #onTimer(nowMs: number): void {
    if (this.#isLooking) this.#tryNext(nowMs);
    else this.begin(nowMs);
  }

  #tryNext(nowMs: number): void {
    const { reactor, addressSlot } = this.#context;
    this.#socket?.reset();
    this.#socket = null;
    for (;;) {
      const address = this.#backend.addresses[this.#nextAddress++];
      if (address === undefined) return this.#end(false, nowMs);
      writeSockaddr(reactor.libc.arena, addressSlot, { address, port: this.#backend.port });
      const socket = TcpSocket.connect(reactor, addressSlot, {
        onConnected: (at) => this.#onConnected(at),
        onReady: (at) => this.#move(at),
        onError: (_errno, at) => this.#tryNext(at),
      });
      if (typeof socket === "number") continue;
      this.#socket = socket;
      return reactor.setTimer(this.#timer, nowMs + limits.HEALTH_TIMEOUT_MS);
    }
  }

  #onConnected(nowMs: number): void {
    const { check, host, port } = this.#backend;
    if (check.kind !== "http") return this.#end(true, nowMs);
    const name = formatEndpoint({ address: host, port });
    const head = `GET ${check.path} HTTP/1.1\r\nHost: ${name}\r\nUser-Agent: postern\r\nAccept: */*\r\nConnection: close\r\n\r\n`;
    this.#request = new TextEncoder().encode(head).subarray(0, LOOK_CHUNK_BYTES);
    this.#answer = "";
    this.#move(nowMs);
  }

  /** Writes what is left of the request, then reads the status. */
  #move(nowMs: number): void {
    const { reactor, chunkAt } = this.#context;
    const socket = this.#socket;
    const request = this.#request;
    if (socket === null || request === null) return;
    const { bytes } = reactor.libc.arena;
    if (request.length > 0 && socket.isWritable) {
      bytes.set(request, chunkAt);
      const written = socket.write(chunkAt, request.length);
      if (written < 0 && written !== TCP_AGAIN) return this.#tryNext(nowMs);
      this.#request = request.subarray(Math.max(0, written));
    }
    while (socket.isReadable) {
      const count = socket.read(chunkAt, limits.HEALTH_ANSWER_MAX_BYTES - this.#answer.length);
      if (count === TCP_AGAIN) return;
      if (count <= 0) return this.#tryNext(nowMs);
      for (let i = 0; i < count; i++) this.#answer += String.fromCharCode(bytes[chunkAt + i] ?? 0);
      const status = STATUS_LINE.exec(this.#answer)?.[1];
      if (status !== undefined) return status >= "200" && status < "400" ? this.#end(true, nowMs) : this.#tryNext(nowMs);
      if (this.#answer.length >= limits.HEALTH_ANSWER_MAX_BYTES) return this.#tryNext(nowMs);
    }
  }

  #end(isUp: boolean, nowMs: number): void {
    this.#isLooking = false;
    this.#request = null;
    // Closed in good order: a backend that logs resets would log one for every look.
    this.#socket?.close();
    this.#socket = null;
    this.#failures = isUp ? 0 : this.#failures + 1;
    const delayMs = isUp ? limits.HEALTH_INTERVAL_MS : limits.HEALTH_INTERVAL_DOWN_MS;
    this.#context.reactor.setTimer(this.#timer, nowMs + delayMs);
    if (!isUp) this.#onFailure();
    if (isUp) this.#onHealth("up");
    else if (this.#failures >= limits.HEALTH_FAILURES_MAX) this.#onHealth("down");
  }
}
