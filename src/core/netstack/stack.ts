/**
 * The network stack: IP packets in, TCP sessions and UDP flows at the owner's side, IP packets out. It reads no clock, owns
 * no socket and keeps no packet: the owner hands packets in (`handlePacket`), polls for what leaves (`pollPacket`), and calls
 * `handleTimeout` when `nextTimeoutMs` has come. Every entry takes the time.
 *
 *     handlePacket ─► IP: checked, or refused with its reason
 *          ├─► TCP ── session of the flow ─► tcp_receive ─► handler.onData / onFin / onClosed
 *          │     └─── none: SYN ─► limits ─► owner.onSyn ─► pending ── accept ─► SYN-ACK
 *          ├─► UDP ── flow, or owner.onFlow ─► handler.onDatagram
 *          └─► ICMP ─ echo reply, errors to their sessions and flows
 *     pollPacket ◄── answers without a session, then the path's sessions in turn ◄── tcp_send
 *
 * The owner may call the stack from within a handler, but for handlePacket, pollPacket and handleTimeout.
 */
import { assert } from "../../base/mod.ts";
import { copyEnds, type IpEnds, IpHeader, type PacketMemory } from "../wire/mod.ts";
import { Accounts } from "./accounts.ts";
import { ControlAnswers } from "./control_answers.ts";
import type { Counters } from "./counters.ts";
import { TcpEnvironment } from "./environment.ts";
import { PacketIntake } from "./intake.ts";
import { NETSTACK_LIMITS, type NetStackLimits, PATH_PACKET_MIN_BYTES } from "./limits.ts";
import type { NetStackOwner } from "./owner.ts";
import { PacketPath, type PathOptions } from "./path.ts";
import { SessionTable } from "./session_table.ts";
import { abortSession, acceptSession, resumeSession, sendRoomBytes, shutdownSession, writeSession } from "./tcp_owner.ts";
import { deliverHeld } from "./tcp_deliver.ts";
import { buildSegment, hasMoreToSend } from "./tcp_send.ts";
import type { SessionHandler, TcpSession } from "./tcp_session.ts";
import { onSessionTimer, scheduleSession } from "./tcp_timer.ts";
import { type FlowHandler, type UdpFlow, UdpFlows } from "./udp_flows.ts";

export interface NetStackOptions {
  readonly limits?: Partial<NetStackLimits>;
  /** Sixteen random bytes, never used for another stack: initial sequence numbers and tables depend on them. */
  readonly entropy: Uint8Array;
  /**
   * Data is not offered to its owner as it comes but when {@linkcode NetStack.deliver} is called, much at once: for owners to whom
   * each call costs. Default: as it comes.
   */
  readonly holdsData?: boolean;
}

export class NetStack {
  readonly limits: NetStackLimits;
  readonly #environment: TcpEnvironment;
  readonly #sessions: SessionTable;
  readonly #flows: UdpFlows;
  readonly #answers: ControlAnswers;
  readonly #intake: PacketIntake;
  readonly #flowEnds = new IpHeader();
  #nextPathId = 1;

  constructor(owner: NetStackOwner, options: NetStackOptions) {
    assert(options.entropy.length >= 16, "sixteen bytes of entropy");
    const view = new DataView(options.entropy.buffer, options.entropy.byteOffset, options.entropy.byteLength);
    this.limits = { ...NETSTACK_LIMITS, ...options.limits };
    this.#environment = new TcpEnvironment(
      this.limits,
      { low: view.getInt32(0), high: view.getInt32(4) },
      options.holdsData ?? false,
      {
        onPathReady: (path) => owner.onPathReady(path),
        onTimer: onSessionTimer,
        onUnlist: (session) => this.#sessions.unlist(session),
        onRelease: (session) => this.#sessions.release(session),
        onTimeWait: (session) => this.#sessions.enterTimeWait(session),
      },
    );
    const accounts = new Accounts(this.limits);
    this.#sessions = new SessionTable(this.#environment, accounts, view.getInt32(8));
    this.#flows = new UdpFlows(this.#environment, accounts, view.getInt32(12));
    this.#answers = new ControlAnswers(this.#environment);
    this.#intake = new PacketIntake(this.#environment, owner, this.#sessions, this.#flows, this.#answers);
  }

  get counters(): Readonly<Counters> {
    return this.#environment.counters;
  }

  /** TCP sessions that the owner still has, from pending to the last byte taken. */
  get sessionCount(): number {
    return this.#sessions.count;
  }

  get timeWaitCount(): number {
    return this.#sessions.timeWaitCount;
  }

  get flowCount(): number {
    return this.#flows.size;
  }

  /** Memory of all sessions' buffers. */
  get bufferedBytes(): number {
    return this.#environment.pool.heldBytes;
  }

  /** All sessions in the table, those in TIME-WAIT too, for whoever lists them. */
  sessions(): readonly TcpSession[] {
    return this.#sessions.all();
  }

  openPath(options: PathOptions): PacketPath {
    return new PacketPath(this.#nextPathId++, options, this.limits.controlQueueMax);
  }

  /** The path is gone for good: its sessions and flows end without a word to the peer. */
  closePath(path: PacketPath, nowMs: number): void {
    this.#environment.nowMs = nowMs;
    path.isClosed = true;
    this.#sessions.endAll(path);
    this.#flows.endAll(path);
  }

  /** Takes in the packet of `length` bytes at `offset`, which came by `path`. Whatever it is, this does not throw. */
  handlePacket(path: PacketPath, memory: PacketMemory, offset: number, length: number, nowMs: number): void {
    this.#environment.nowMs = nowMs;
    const session = this.#intake.handle(path, memory, offset, length);
    if (session !== null) this.#afterWork(session);
  }

  /** Offers owners what waits for them since the last call; to be called when all packets at hand were taken in. */
  deliver(nowMs: number): void {
    const { held } = this.#environment;
    if (held.length === 0) return;
    this.#environment.nowMs = nowMs;
    for (let i = 0; i < held.length; i++) {
      const session = held[i] as TcpSession;
      deliverHeld(session);
      this.#afterWork(session);
    }
    held.length = 0;
  }

  /**
   * Writes the next packet of `path` at `offset` and returns its length, at most `room` and at most the path's largest; 0 when
   * there is none. Poll again until 0, or until the path takes no more: what is not polled is not lost.
   */
  pollPacket(path: PacketPath, memory: PacketMemory, offset: number, room: number, nowMs: number): number {
    assert(room >= PATH_PACKET_MIN_BYTES, "room for a packet");
    this.#environment.nowMs = nowMs;
    const packetMax = Math.min(room, path.maxBytes);
    while (path.control.count > 0) {
      const length = path.control.take(memory, offset, packetMax);
      if (length > 0) {
        this.#environment.counters.packetsSent++;
        return length;
      }
      this.#environment.counters.controlDropped++;
    }
    for (let session = path.dequeue(); session !== null; session = path.dequeue()) {
      const length = buildSegment(session, memory, offset, packetMax);
      scheduleSession(session);
      if (length === 0) continue;
      if (hasMoreToSend(session)) path.enqueue(session);
      this.#environment.counters.packetsSent++;
      return length;
    }
    return 0;
  }

  /** When {@linkcode handleTimeout} is to be called, on the owner's clock; Infinity when nothing is awaited. */
  nextTimeoutMs(): number {
    return this.#environment.timers.nextMs;
  }

  handleTimeout(nowMs: number): void {
    this.#environment.nowMs = nowMs;
    this.#environment.timers.run(nowMs);
  }

  #afterWork(session: TcpSession): void {
    if (session.isReported && session.state === "closed") return;
    if (hasMoreToSend(session)) this.#environment.markReady(session);
    scheduleSession(session);
  }

  /** The session's backend is connected: the SYN-ACK may leave. False when the session is already over. */
  accept(session: TcpSession, nowMs: number): boolean {
    this.#environment.nowMs = nowMs;
    const isAccepted = acceptSession(session);
    this.#afterWork(session);
    return isAccepted;
  }

  /**
   * Opens a session to `ends.destination`, `remotePort`. Null when there is no room, or such a session exists. Limits on SYNs
   * from the other side do not count here.
   */
  connect(
    path: PacketPath,
    ends: IpEnds,
    localPort: number,
    remotePort: number,
    handler: SessionHandler,
    nowMs: number,
  ): TcpSession | null {
    this.#environment.nowMs = nowMs;
    const session = this.#sessions.openActive(path, ends, localPort, remotePort);
    if (session === null) return null;
    session.handler = handler;
    this.#afterWork(session);
    return session;
  }

  /** How many bytes {@linkcode write} takes now. After a 0 the handler hears `onWritable` when there is room. */
  sendCapacity(session: TcpSession): number {
    const roomBytes = sendRoomBytes(session);
    if (roomBytes === 0) session.send.isOwnerWaiting = true;
    return roomBytes;
  }

  /** Copies bytes for the peer and returns how many; after fewer than `length` the handler hears `onWritable`. */
  write(session: TcpSession, memory: PacketMemory, offset: number, length: number, nowMs: number): number {
    this.#environment.nowMs = nowMs;
    return writeSession(session, memory, offset, length);
  }

  /** The owner will write no more: FIN follows what was written. */
  shutdownWrite(session: TcpSession, nowMs: number): void {
    this.#environment.nowMs = nowMs;
    shutdownSession(session);
    this.#afterWork(session);
  }

  /** Ends the session with RST; a pending one is refused by it. */
  abort(session: TcpSession, nowMs: number): void {
    this.#environment.nowMs = nowMs;
    abortSession(session);
  }

  /** The owner can take data again. */
  windowOpened(session: TcpSession, nowMs: number): void {
    this.#environment.nowMs = nowMs;
    resumeSession(session);
    this.#afterWork(session);
  }

  /** A flow that we begin, with the ends as its packets will have them. Null, counted, when there is no room or it exists. */
  openFlow(
    path: PacketPath,
    ends: IpEnds,
    localPort: number,
    remotePort: number,
    handler: FlowHandler,
    nowMs: number,
  ): UdpFlow | null {
    this.#environment.nowMs = nowMs;
    copyEnds(ends, this.#flowEnds, true);
    if (this.#flows.find(path, this.#flowEnds, localPort, remotePort) !== null) return null;
    const flow = this.#flows.open(path, ends, localPort, remotePort);
    if (flow !== null) flow.handler = handler;
    return flow;
  }

  /**
   * Makes a packet of the flow out of a payload that lies `udpHeadroomBytes` behind `packetOffset`, and returns its length; 0,
   * counted, when it is larger than the path carries. The owner sends it itself: it does not pass through the poll.
   */
  frameDatagram(flow: UdpFlow, memory: PacketMemory, packetOffset: number, payloadBytes: number, nowMs: number): number {
    this.#environment.nowMs = nowMs;
    return this.#flows.frame(flow, memory, packetOffset, payloadBytes);
  }

  /** Tells the flow's other end that nobody listens at the port (the backend refused). The flow goes on. */
  flowRefused(flow: UdpFlow, nowMs: number): void {
    this.#environment.nowMs = nowMs;
    if (!flow.isEnded) this.#answers.flowUnreachable(flow, "port");
  }

  /** Tells the flow's other end that its datagrams may be `mtuBytes` at most, as IP packets. The flow goes on. */
  flowTooBig(flow: UdpFlow, mtuBytes: number, nowMs: number): void {
    this.#environment.nowMs = nowMs;
    if (!flow.isEnded) this.#answers.flowTooBig(flow, mtuBytes);
  }

  closeFlow(flow: UdpFlow, nowMs: number): void {
    this.#environment.nowMs = nowMs;
    this.#flows.end(flow, "closed");
  }
}
