/**
 * The connector's part in signalling (WIRE 6.6): an offer that the server brings is answered with where we can be reached, and when
 * the server says so we check the agent's candidates from our side, which opens a NAT on the way for its checks.
 */
import { type SocketAddress, Timer } from "../../base/mod.ts";
import type { Connection } from "../../core/quic/mod.ts";
import { filterCandidates, isUsableAddress, makeCandidate, Punching } from "../../core/signal/mod.ts";
import { ALPN_V2, type BindingMessage, type Candidate, type Malformed, type SignalMessage } from "../../core/wire/mod.ts";
import type { UdpSocket } from "../../io/mod.ts";
import type { P2pPlan, Plane } from "../control/mod.ts";
import { type DirectControl, type SignalMemory, signalMemory, SignalStream } from "../uplink/mod.ts";
import type { SignallingStream } from "./backend_streams.ts";
import { PUNCHINGS_MAX } from "./limits.ts";
import type { ConnectorMetric } from "./metrics.ts";
import type { Service } from "./services.ts";

export interface P2pSignalsOptions {
  readonly plane: Plane;
  /** Null: there are no direct connections, and every offer is refused. */
  readonly plan: P2pPlan | null;
  readonly service: (id: string) => Service | undefined;
  readonly allowLegacyServiceIds: boolean;
  /** Addresses on this machine itself make sense only where the server is there too. */
  readonly allowLoopback: boolean;
  readonly control: DirectControl | null;
  readonly socketFor: (address: string) => UdpSocket | undefined;
  readonly count: (metric: ConnectorMetric, amount: number) => void;
  /** The stream of this number, as {@linkcode P2pSignals.open} made it, now or before. */
  readonly streamOf: (connection: Connection, stream: number) => SignallingStream | null;
  /** The stream carries signalling no more. */
  readonly onEnd: (connection: Connection, stream: number) => void;
}

/** From a client's first stream (RFC 9000 §2.1), on which connectors of ztna-v1 speak. */
const V1_STREAM = 0;

export class P2pSignals {
  readonly #options: P2pSignalsOptions;
  readonly #memory: SignalMemory;
  /** Offers that were answered, until the server says start. */
  readonly #answered = new Map<bigint, { readonly local: readonly Candidate[]; readonly endsMs: number }>();
  readonly #punching = new Map<bigint, Punching>();
  readonly #timer = new Timer((nowMs) => this.#check(nowMs));
  /** Where the server sees us. */
  #seenAs: SocketAddress | null = null;

  constructor(options: P2pSignalsOptions) {
    this.#options = options;
    this.#memory = signalMemory(options.plane, options.allowLegacyServiceIds);
  }

  /** The server has told under which address it sees us. */
  setAddress(address: SocketAddress): void {
    this.#seenAs = address;
  }

  /** A stream that carries signalling, with the bytes of it that were read already. */
  open(connection: Connection, stream: number, first: Uint8Array): SignallingStream {
    return new SignalStream(this.#memory, connection, stream, first, (one, nowMs) => {
      if (!one.read((message) => this.#take(one, message, nowMs))) this.#options.onEnd(connection, stream);
    });
  }

  /** An answer to a binding request. False when none of ours asked. */
  onBindingResponse(response: BindingMessage & { readonly kind: "binding-response" }, from: SocketAddress): boolean {
    const { transactionId, success } = response;
    for (const [id, punching] of this.#punching) {
      if (!punching.handleResponse(transactionId, success, from)) continue;
      this.#punching.delete(id);
      this.#options.count("p2pPunched", 1);
      return true;
    }
    return false;
  }

  #take(stream: SignalStream, message: SignalMessage | Malformed, nowMs: number): void {
    const { count } = this.#options;
    switch (message.kind) {
      case "candidate-offer":
        return this.#answer(stream, message.sessionId, message.service, nowMs);
      case "start-punching":
        return this.#start(message.sessionId, message.candidates, nowMs + message.startDelayMs);
      case "punching-result":
      case "error":
        if (message.sessionId !== null) this.#forget(message.sessionId);
        return;
      default:
        // An answer is a connector's, and what is malformed is nobody's.
        count("signalsMalformed", 1);
    }
  }

  #answer(stream: SignalStream, sessionId: bigint, service: string, nowMs: number): void {
    const { service: serviceOf, plane, count } = this.#options;
    this.#forgetLate(nowMs);
    const local = this.#candidates();
    const isFull = this.#answered.size + this.#punching.size >= PUNCHINGS_MAX;
    if (local.length === 0 || serviceOf(service) === undefined || isFull || plane.isStopping) {
      count("signalsRefused", 1);
      const message = isFull ? "The connector has too many sessions" : "The connector takes no direct connections for this service";
      return this.#send(stream, { kind: "error", sessionId, code: "peer-rejected", message });
    }
    this.#answered.set(sessionId, { local, endsMs: nowMs + ANSWER_LIFETIME_MS });
    count("signalsAnswered", 1);
    this.#send(stream, { kind: "candidate-answer", sessionId, candidates: local });
  }

  #start(sessionId: bigint, candidates: readonly Candidate[], startMs: number): void {
    const { plane, allowLoopback, count } = this.#options;
    const answered = this.#answered.get(sessionId);
    if (answered === undefined) return count("signalsRefused", 1);
    this.#answered.delete(sessionId);
    const punching = new Punching({
      side: "connector",
      local: answered.local,
      // The server has filtered them: it may be wrong, or an older one.
      remote: filterCandidates(candidates, { allowLoopback }),
      entropy: plane.platform.entropy,
      startMs,
    });
    this.#punching.set(sessionId, punching);
    this.#arm();
  }

  #check(nowMs: number): void {
    const { control, socketFor } = this.#options;
    for (const [id, punching] of this.#punching) {
      for (let check = punching.poll(nowMs); check !== null; check = punching.poll(nowMs)) {
        const { to, transactionId, priority } = check;
        const socket = socketFor(to.ip);
        const request = { kind: "binding-request", transactionId, priority, useCandidate: false } as const;
        if (socket !== undefined) control?.sendBinding(socket, to, request);
      }
      if (punching.state !== "checking") this.#punching.delete(id);
    }
    this.#arm();
  }

  #arm(): void {
    const { reactor } = this.#options.plane.platform;
    let nextMs = Infinity;
    for (const punching of this.#punching.values()) nextMs = Math.min(nextMs, punching.nextMs);
    if (nextMs === Infinity) reactor.cancelTimer(this.#timer);
    else reactor.setTimer(this.#timer, nextMs);
  }

  /** Where we can be reached: what the operator says, as whom the server sees us, and the machine's own addresses. */
  #candidates(): Candidate[] {
    const { plan, allowLoopback, socketFor } = this.#options;
    if (plan === null) return [];
    const portOf = (ip: string) => socketFor(ip)?.bound.port ?? 0;
    const hosts = plan.hostAddresses.map((ip) => makeCandidate("host", { ip, port: portOf(ip) }));
    const { externalIp } = plan;
    // The base of an address is one of its own family (RFC 8445 §5.1.1.2).
    const baseOf = ({ ip }: SocketAddress) =>
      hosts.find(({ address }) => address.ip.includes(":") === ip.includes(":"))?.address ?? null;
    const outside = externalIp === null ? this.#seenAs : { ip: externalIp, port: portOf(externalIp) };
    const reflexive = outside === null ? [] : [makeCandidate("server-reflexive", outside, baseOf(outside))];
    return [...reflexive, ...hosts].filter(({ address }) => isUsableAddress(address, { allowLoopback })).slice(0, HOSTS_MAX);
  }

  #forget(sessionId: bigint): void {
    this.#answered.delete(sessionId);
    this.#punching.delete(sessionId);
    this.#arm();
  }

  #forgetLate(nowMs: number): void {
    for (const [id, { endsMs }] of this.#answered) if (endsMs <= nowMs) this.#answered.delete(id);
  }

  #send(heardOn: SignalStream, message: SignalMessage): void {
    const { connection } = heardOn;
    const isV2 = connection.engine.applicationProtocol() === ALPN_V2;
    const stream = isV2 ? heardOn : this.#options.streamOf(connection, V1_STREAM);
    if (stream instanceof SignalStream && !stream.send(message)) this.#options.count("signalsRefused", 1);
  }
}

/** The server's sessions live as long (WIRE 6.6). */
const ANSWER_LIFETIME_MS = 5_000;
/** Candidates of ours. */
const HOSTS_MAX = 16;
