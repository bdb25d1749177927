/**
 * A local connection that goes to its service in packets, where the server or the service's connectors know no streams: a TCP session
 * of our own network stack, whose SYN leaves as soon as the service is registered.
 */
import type { CloseWhy, SessionHandler, TcpSession } from "../../core/netstack/mod.ts";
import type { PacketMemory } from "../../core/wire/mod.ts";
import { SessionBridge, type SessionBridgeContext } from "../uplink/mod.ts";
import type { LocalClient, LocalEnd, LocalRefusal } from "./local_client.ts";
import type { LocalTransport, LocalTransportOwner } from "./local_connection.ts";
import type { PacketEnd } from "./packet_end.ts";

/** What all sessions share. */
export interface LocalSessionContext extends SessionBridgeContext {
  readonly packets: PacketEnd;
}

/** How the session's end is said of a connection that was joined. */
function endOf(why: CloseWhy): LocalEnd {
  if (why === "finished") return "closed";
  return why === "reset" ? "aborted-by-peer" : why === "aborted" ? "aborted-here" : "connection-lost";
}

/** And of one that was not. */
function refusalOf(why: CloseWhy): readonly [code: LocalRefusal, detail: string] {
  const isRefusal = why === "reset" || why === "unreachable" || why === "finished";
  return isRefusal
    ? ["backend-refused", "the other end refused the connection in packets"]
    : ["no-answer", "nothing answered in packets"];
}

export class LocalSession implements SessionHandler, LocalTransport {
  readonly #context: LocalSessionContext;
  readonly #client: LocalClient;
  readonly #owner: LocalTransportOwner;
  #bridge: SessionBridge | null = null;
  #isJoined = false;
  /** The owner knows. */
  #isAborted = false;

  constructor(context: LocalSessionContext, client: LocalClient, owner: LocalTransportOwner) {
    this.#context = context;
    this.#client = client;
    this.#owner = owner;
  }

  get bytesToService(): number {
    return this.#bridge?.bytesFromSocket ?? 0;
  }

  get bytesFromService(): number {
    return this.#bridge?.bytesToSocket ?? 0;
  }

  get isHalfClosed(): boolean {
    const state = this.#bridge?.session.state;
    return state === "finWait2" || state === "closeWait";
  }

  /** Asks for the connection. The owner may be told that it is refused before this returns. */
  open(service: string, port: number, nowMs: number): void {
    const session = this.#context.packets.connect(service, port, this, nowMs);
    if (session === null) return this.#owner.onRefused("busy", "there is no room for another session");
    this.#bridge = new SessionBridge(this.#context, session);
  }

  /** The client's socket can be read or written. */
  onReady(): void {
    if (this.#isJoined) this.#bridge?.onReady(this.#context.reactor.nowMs);
  }

  onSocketError(): void {
    const { stack, reactor } = this.#context;
    if (this.#isJoined) return this.#bridge?.onError(reactor.nowMs);
    this.#isAborted = true;
    if (this.#bridge !== null) stack.abort(this.#bridge.session, reactor.nowMs);
    this.#owner.onOver("aborted-by-socket");
  }

  abort(): void {
    this.#isAborted = true;
    if (this.#bridge !== null) this.#reset(this.#bridge);
  }

  onOpen(): void {
    const { socket } = this.#client;
    this.#isJoined = true;
    if (!this.#owner.onJoined() || socket === null) return this.#bridge === null ? undefined : this.#reset(this.#bridge);
    this.#bridge?.attach(socket);
    this.#bridge?.pumpFromSocket();
  }

  onData(_session: TcpSession, memory: PacketMemory, offset: number, length: number): number {
    return this.#bridge?.take(memory, offset, length) ?? 0;
  }

  onFin(): void {
    this.#bridge?.takeEnd();
  }

  onWritable(): void {
    this.#bridge?.pumpFromSocket();
  }

  onClosed(_session: TcpSession, why: CloseWhy): void {
    if (this.#isJoined) this.#bridge?.end(why);
    if (this.#isAborted) return;
    if (this.#isJoined) this.#owner.onOver(endOf(why));
    else this.#owner.onRefused(...refusalOf(why));
  }

  #reset({ session }: SessionBridge): void {
    this.#context.stack.abort(session, this.#context.reactor.nowMs);
  }
}
