/**
 * One client of the proxy: SOCKS5 or HTTP CONNECT, told by its first byte. Its request is read to its last byte and no further, so
 * that what follows goes to the service as it came; the answer is the client's own kind of yes or no.
 *
 *   hello ──5──► request ──CONNECT──► asking ──accepted──► joined
 *     └──A-Z────────────────────────────┘ └──refused──► leaving (the answer is out, what still comes is not read on)
 *           request ──UDP ASSOCIATE──► associated
 */
import { parseIp, Timer } from "../../base/mod.ts";
import * as wire from "../../core/wire/mod.ts";
import { type IpEndpoint, type Reactor, TCP_AGAIN, TCP_BROKEN, TCP_END, type TcpOwner, TcpSocket } from "../../io/mod.ts";
import { LEAVING_BYTES_MAX, PROXY_LEAVING_MS, PROXY_REQUEST_MS } from "./limits.ts";
import type { LocalClient, LocalRefusal, LocalWay } from "./local_client.ts";
import type { AgentMetric } from "./metrics.ts";

/** What all clients of one proxy share. */
export interface ProxyContext {
  readonly reactor: Reactor;
  /** Offset of `PROXY_CHUNK_BYTES` bytes of the arena that are used within one call only. */
  readonly chunkAt: number;
  readonly count: (metric: AgentMetric, amount: number) => void;
  /** Takes the client to what it asks for, or returns null when that is not a service. */
  readonly connect: (client: ProxyClient, target: wire.ProxyTarget) => LocalWay | null;
  /** Where the client may send its datagrams from now on, until it is gone; null when there are too many. */
  readonly associate: (client: ProxyClient, target: wire.ProxyTarget) => IpEndpoint | null;
  readonly onGone: (client: ProxyClient) => void;
}

/** The most that is read at once while the request is read. */
export const PROXY_CHUNK_BYTES = 8_192;
const FIRST_BUFFER_BYTES = 512;
const NO_ADDRESS = new Uint8Array(4);

type State = "hello" | "request" | "asking" | "joined" | "associated" | "leaving" | "gone";

export class ProxyClient implements TcpOwner, LocalClient {
  readonly socket: TcpSocket | null;
  /** The address that the client came from. */
  readonly address: string;
  readonly #context: ProxyContext;
  readonly #timer = new Timer(() => this.#giveUp());
  #state: State = "hello";
  #isSocks = true;
  #bytes: Uint8Array = new Uint8Array(FIRST_BUFFER_BYTES);
  #used = 0;
  #way: LocalWay | null = null;
  /** Read and thrown away since the answer. */
  #discarded = 0;

  /** Takes over the accepted descriptor `fd`. */
  constructor(context: ProxyContext, fd: number, address: string) {
    this.#context = context;
    this.address = address;
    this.socket = TcpSocket.adopt(context.reactor, fd, this);
    context.reactor.setTimer(this.#timer, context.reactor.nowMs + PROXY_REQUEST_MS);
  }

  onConnected(): void {
    // It was when it was accepted.
  }

  onReady(): void {
    if (this.#state === "hello" || this.#state === "request") this.#read();
    else if (this.#state === "associated" || this.#state === "leaving") this.#discard();
    else this.#way?.onReady();
  }

  onError(): void {
    this.#way?.onSocketError();
    this.#end();
  }

  onAccepted(): boolean {
    if (this.#state !== "asking") return false;
    this.#state = "joined";
    this.#context.reactor.cancelTimer(this.#timer);
    this.#context.onGone(this);
    return this.#isSocks ? this.#writeReply(wire.SocksReplyCode.succeeded, null) : this.#write(wire.CONNECT_ANSWERS[200]);
  }

  /** It may not have that, or nothing came of it. */
  onRefused(code: LocalRefusal): void {
    const isDenied = code === "denied";
    this.#refuse(isDenied ? wire.SocksReplyCode.notAllowed : wire.SocksReplyCode.connectionRefused, isDenied ? 403 : 502);
  }

  /** Ends it at once. */
  abort(): void {
    this.socket?.reset();
    this.#end();
  }

  #read(): void {
    for (;;) {
      const needed = this.#decode();
      if (needed === 0) return;
      if (needed > this.#bytes.length) this.#grow(needed);
      const { chunkAt, reactor } = this.#context;
      const count = this.socket?.read(chunkAt, needed - this.#used) ?? TCP_BROKEN;
      if (count === TCP_AGAIN) return;
      if (count === TCP_END || count === TCP_BROKEN) return this.abort();
      this.#bytes.set(reactor.libc.arena.bytes.subarray(chunkAt, chunkAt + count), this.#used);
      this.#used += count;
    }
  }

  /** Looks at what was read. Returns how many bytes there must be to go on, or 0 when there is nothing more to read. */
  #decode(): number {
    if (this.#state === "request") return this.#takeRequest();
    if (this.#used === 0) return 1;
    this.#isSocks = this.#bytes[0] === wire.SOCKS_VERSION;
    return this.#isSocks ? this.#takeGreeting() : this.#takeHead();
  }

  #takeGreeting(): number {
    const greeting = wire.decodeSocksGreeting(this.#bytes, 0, this.#used);
    if (greeting.kind === "need") return greeting.bytes;
    if (greeting.kind === "malformed") return this.#malformed();
    const { chunkAt, reactor } = this.#context;
    const isAccepted = greeting.takesNoAuthentication;
    const length = wire.encodeSocksMethod(reactor.libc.arena.bytes, chunkAt, isAccepted);
    if (!this.#writeChunk(length)) return 0;
    if (!isAccepted) return this.#leave();
    this.#state = "request";
    this.#used = 0;
    return this.#takeRequest();
  }

  #takeRequest(): number {
    const request = wire.decodeSocksRequest(this.#bytes, 0, this.#used);
    if (request.kind === "need") return request.bytes;
    if (request.kind === "malformed") return this.#malformed();
    if (request.kind === "unsupported") return this.#refuse(request.code, 405);
    return request.command === "connect" ? this.#ask(request.target) : this.#associate(request.target);
  }

  #takeHead(): number {
    const head = wire.decodeConnectHead(this.#bytes, 0, this.#used);
    if (head.kind === "need") return head.bytes;
    if (head.kind === "malformed") return this.#malformed();
    if (head.kind === "other-method") return this.#refuse(wire.SocksReplyCode.commandNotSupported, 405);
    return this.#ask(head.target);
  }

  #ask(target: wire.ProxyTarget): 0 {
    this.#state = "asking";
    this.#context.reactor.cancelTimer(this.#timer);
    this.#way = this.#context.connect(this, target);
    if (this.#way !== null) return 0;
    this.#context.count("proxyForeign", 1);
    return this.#refuse(wire.SocksReplyCode.notAllowed, 403);
  }

  #associate(target: wire.ProxyTarget): 0 {
    const where = this.#context.associate(this, target);
    if (where === null) return this.#refuse(wire.SocksReplyCode.notAllowed, 403);
    this.#state = "associated";
    this.#context.reactor.cancelTimer(this.#timer);
    if (this.#writeReply(wire.SocksReplyCode.succeeded, where)) this.#discard();
    return 0;
  }

  #malformed(): 0 {
    this.#context.count("proxyMalformed", 1);
    if (!this.#isSocks) return this.#refuse(wire.SocksReplyCode.notAllowed, 400);
    this.abort();
    return 0;
  }

  #refuse(code: wire.SocksReplyCode, status: 400 | 403 | 405 | 502): 0 {
    if (this.#state === "gone") return 0;
    const isSaid = this.#isSocks ? this.#writeReply(code, null) : this.#write(wire.CONNECT_ANSWERS[status]);
    return isSaid ? this.#leave() : 0;
  }

  /** The answer is written: the client gets time to read it before its socket goes, and what it still says is thrown away. */
  #leave(): 0 {
    this.#state = "leaving";
    this.#way = null;
    this.socket?.shutdownWrite();
    const { reactor } = this.#context;
    reactor.setTimer(this.#timer, reactor.nowMs + PROXY_LEAVING_MS);
    this.#discard();
    return 0;
  }

  /** Nothing of what comes matters but its end. */
  #discard(): void {
    const { chunkAt } = this.#context;
    while (this.socket?.isReadable === true) {
      const count = this.socket.read(chunkAt, PROXY_CHUNK_BYTES);
      if (count === TCP_AGAIN) return;
      this.#discarded += Math.max(0, count);
      if (count !== TCP_END && count !== TCP_BROKEN && this.#discarded <= LEAVING_BYTES_MAX) continue;
      this.socket.close();
      return this.#end();
    }
  }

  #giveUp(): void {
    if (this.#state !== "leaving") this.#context.count("proxyMalformed", 1);
    this.abort();
  }

  /** Not where it ends by its way: then the way has its socket. */
  #end(): void {
    if (this.#state === "gone" || this.#state === "joined") return;
    this.#state = "gone";
    this.#context.reactor.cancelTimer(this.#timer);
    this.#context.onGone(this);
  }

  #grow(needed: number): void {
    const larger = new Uint8Array(Math.max(needed, 2 * this.#bytes.length));
    larger.set(this.#bytes.subarray(0, this.#used));
    this.#bytes = larger;
  }

  #writeReply(code: wire.SocksReplyCode, where: IpEndpoint | null): boolean {
    const { chunkAt, reactor } = this.#context;
    const ip = where === null ? NO_ADDRESS : parseIp(where.address) ?? NO_ADDRESS;
    return this.#writeChunk(wire.encodeSocksReply(reactor.libc.arena.bytes, chunkAt, code, ip, where?.port ?? 0));
  }

  #write(text: string): boolean {
    const { chunkAt, reactor } = this.#context;
    const { bytes } = reactor.libc.arena;
    for (let i = 0; i < text.length; i++) bytes[chunkAt + i] = text.charCodeAt(i);
    return this.#writeChunk(text.length);
  }

  /** An answer is short and the first thing on its socket: a kernel that does not take it whole has no room for anything. */
  #writeChunk(length: number): boolean {
    if (this.socket?.write(this.#context.chunkAt, length) === length) return true;
    this.abort();
    return false;
  }
}
