/**
 * How the agent finds a connector's address: an offer with our own addresses goes to the server (WIRE 6.6), which has both sides
 * check the other's from the socket of the uplink, whose NAT binding the server saw. What answers first is where the connector is.
 *
 *   offer ─► offered ──StartPunching──► checking ──an answer──► found        offered, checking ──refused, or 5 s──► failed
 */
import { type SocketAddress, Timer } from "../../base/mod.ts";
import type { Connection } from "../../core/quic/mod.ts";
import { filterCandidates, isUsableAddress, makeCandidate, Punching } from "../../core/signal/mod.ts";
import { type BindingMessage, type Candidate, type Malformed, type SignalMessage } from "../../core/wire/mod.ts";
import type { UdpSocket } from "../../io/mod.ts";
import type { Plane } from "../control/mod.ts";
import { type DirectControl, type SignalMemory, signalMemory, SignalStream } from "../uplink/mod.ts";
import { CANDIDATES_OWN_MAX, OFFER_MS, OFFERS_MAX } from "./limits.ts";

export interface DirectSignalsOptions {
  readonly plane: Plane;
  /** Addresses of this machine that others may be told. */
  readonly hostAddresses: readonly string[];
  readonly allowLegacyServiceIds: boolean;
  /** Addresses on this machine itself make sense only where the server is there too. */
  readonly allowLoopback: boolean;
  readonly socketFor: (address: string) => UdpSocket | undefined;
  readonly control: () => DirectControl;
  /** A new stream of the connection to the server; null when it allows none. */
  readonly takeStream: (connection: Connection) => number | null;
  readonly onFound: (service: string, address: SocketAddress, nowMs: number) => void;
  readonly onFailed: (service: string, why: string, nowMs: number) => void;
}

interface Session {
  readonly id: bigint;
  readonly service: string;
  readonly local: readonly Candidate[];
  /** Null until the server says start. */
  punching: Punching | null;
  readonly endsMs: number;
}

const SESSION_ID_BYTES = 8;

export class DirectSignals {
  readonly #options: DirectSignalsOptions;
  readonly #memory: SignalMemory;
  readonly #sessions = new Map<bigint, Session>();
  readonly #timer = new Timer((nowMs) => this.#check(nowMs));
  /** Where the server sees us, by family of the address. */
  readonly #seenAs = new Map<"ipv4" | "ipv6", SocketAddress>();
  #server: Connection | null = null;
  #stream: SignalStream | null = null;

  constructor(options: DirectSignalsOptions) {
    this.#options = options;
    this.#memory = signalMemory(options.plane, options.allowLegacyServiceIds);
  }

  /** The server is reached. One of ztna-v1 hears us on the first stream (WIRE 6.1), which nothing else takes there. */
  begin(connection: Connection): void {
    this.#server = connection;
  }

  /** It is not any more: what it was asked has no answer. */
  end(nowMs: number): void {
    this.#server = null;
    this.#stream = null;
    this.#seenAs.clear();
    for (const session of [...this.#sessions.values()]) {
      if (session.punching === null) this.#fail(session, "the connection to the server was lost", nowMs);
    }
  }

  /** The server has told under which address it sees us. */
  setAddress(address: SocketAddress): void {
    this.#seenAs.set(address.ip.includes(":") ? "ipv6" : "ipv4", address);
  }

  /** Asks for a direct path to the service, for which we are registered. False when that cannot be asked now. */
  offer(service: string, nowMs: number): boolean {
    // Without the server's report of our address the others could not reach us behind a NAT.
    const local = this.#seenAs.size === 0 ? [] : this.#candidates();
    const stream = this.#open();
    if (stream === null || local.length === 0 || this.#sessions.size >= OFFERS_MAX) return false;
    const bytes = new Uint8Array(SESSION_ID_BYTES);
    this.#options.plane.platform.entropy(bytes);
    const id = new DataView(bytes.buffer).getBigUint64(0);
    if (this.#sessions.has(id)) return false;
    if (!stream.send({ kind: "candidate-offer", sessionId: id, service, candidates: local })) return false;
    this.#sessions.set(id, { id, service, local, punching: null, endsMs: nowMs + OFFER_MS });
    this.#arm();
    return true;
  }

  /** Whether the stream of the connection to the server is one of signalling. */
  has(connection: Connection, stream: number): boolean {
    return this.#stream !== null && this.#stream.connection === connection && this.#stream.stream === stream;
  }

  onReadable(nowMs: number): void {
    this.#stream?.onReadable(nowMs);
  }

  onWritable(): void {
    this.#stream?.onWritable();
  }

  /** Somebody asks whether we are here. False when we do not look for anybody: nothing is answered then. */
  onBindingRequest(from: SocketAddress): boolean {
    const { plane, allowLoopback } = this.#options;
    if (!isUsableAddress(from, { allowLoopback })) return false;
    let isChecking = false;
    for (const { punching } of this.#sessions.values()) {
      if (punching === null) continue;
      isChecking = true;
      punching.handleRequest(from, plane.platform.reactor.nowMs);
    }
    if (isChecking) this.#arm();
    return isChecking;
  }

  /** An answer to a binding request. False when none of ours asked. */
  onBindingResponse(response: BindingMessage & { readonly kind: "binding-response" }, from: SocketAddress): boolean {
    const { transactionId, success } = response;
    for (const session of this.#sessions.values()) {
      if (session.punching?.handleResponse(transactionId, success, from) !== true) continue;
      this.#forget(session);
      this.#report(session, from);
      this.#options.onFound(session.service, from, this.#options.plane.platform.reactor.nowMs);
      return true;
    }
    return false;
  }

  /** Sends the checks that are due, and gives up what took too long. */
  #check(nowMs: number): void {
    for (const session of [...this.#sessions.values()]) {
      const { punching } = session;
      if (punching === null) {
        if (nowMs >= session.endsMs) this.#fail(session, "no answer from the server", nowMs);
        continue;
      }
      for (let check = punching.poll(nowMs); check !== null; check = punching.poll(nowMs)) {
        const { to, transactionId, priority } = check;
        const socket = this.#options.socketFor(to.ip);
        const request = { kind: "binding-request", transactionId, priority, useCandidate: false } as const;
        if (socket !== undefined) this.#options.control().sendBinding(socket, to, request);
      }
      if (punching.state !== "failed") continue;
      this.#report(session, null);
      this.#fail(session, "none of the connector's addresses answered", nowMs);
    }
    this.#arm();
  }

  #open(): SignalStream | null {
    const server = this.#server;
    if (server === null || this.#stream !== null) return this.#stream;
    const stream = this.#options.takeStream(server);
    if (stream === null) return null;
    this.#stream = new SignalStream(this.#memory, server, stream, new Uint8Array(0), (one, nowMs) => {
      if (!one.read((message) => this.#take(message, nowMs)) && this.#stream === one) this.#stream = null;
    });
    return this.#stream;
  }

  #take(message: SignalMessage | Malformed, nowMs: number): void {
    if (message.kind === "malformed" || message.kind === "candidate-offer" || message.kind === "candidate-answer") return;
    const session = message.sessionId === null ? undefined : this.#sessions.get(message.sessionId);
    if (session === undefined) return;
    if (message.kind === "start-punching") this.#start(session, message.candidates, nowMs + message.startDelayMs);
    else if (message.kind === "error") this.#fail(session, `refused: ${message.code}`, nowMs);
  }

  #start(session: Session, candidates: readonly Candidate[], startMs: number): void {
    if (session.punching !== null) return;
    const { plane, allowLoopback } = this.#options;
    session.punching = new Punching({
      side: "agent",
      local: session.local,
      // The server has filtered them: it may be wrong, or an older one.
      remote: filterCandidates(candidates, { allowLoopback }),
      entropy: plane.platform.entropy,
      startMs,
    });
    this.#arm();
  }

  /** Tells the other side what came of it (WIRE 6.6). */
  #report({ id }: Session, workingAddress: SocketAddress | null): void {
    this.#stream?.send({ kind: "punching-result", sessionId: id, success: workingAddress !== null, workingAddress });
  }

  /** Where we can be reached: as whom the server sees us, and this machine's own addresses. */
  #candidates(): Candidate[] {
    const { hostAddresses, allowLoopback, socketFor } = this.#options;
    const hosts = hostAddresses.map((ip) => makeCandidate("host", { ip, port: socketFor(ip)?.bound.port ?? 0 }));
    const reflexive = [...this.#seenAs.values()].map((address) => {
      const isV6 = address.ip.includes(":");
      const base = hosts.find((host) => host.address.ip.includes(":") === isV6)?.address ?? null;
      return makeCandidate("server-reflexive", address, base);
    });
    return [...reflexive, ...hosts].filter(({ address }) => isUsableAddress(address, { allowLoopback })).slice(
      0,
      CANDIDATES_OWN_MAX,
    );
  }

  #fail(session: Session, why: string, nowMs: number): void {
    this.#forget(session);
    this.#options.onFailed(session.service, why, nowMs);
  }

  #forget({ id }: Session): void {
    this.#sessions.delete(id);
    this.#arm();
  }

  #arm(): void {
    const { reactor } = this.#options.plane.platform;
    let nextMs = Infinity;
    for (const { punching, endsMs } of this.#sessions.values()) nextMs = Math.min(nextMs, punching?.nextMs ?? endsMs);
    if (nextMs === Infinity) reactor.cancelTimer(this.#timer);
    else reactor.setTimer(this.#timer, nextMs);
  }
}
