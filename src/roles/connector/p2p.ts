/**
 * Direct connections of agents (WIRE 6.10) put together: signalling, which is answered in any case, and where it is configured the
 * listener on the uplink's sockets with what is said there outside of QUIC.
 */
import { messageOf } from "../../base/mod.ts";
import type { DenyEntry } from "../../core/auth/mod.ts";
import type { Connection, EndpointHandler, EngineProfile } from "../../core/quic/mod.ts";
import { Admission, type ConnectorPlan, type P2pPlan, type PeerStatus, type Plane } from "../control/mod.ts";
import { type ControlEvent, DirectControl, type HubListening, type UplinkHub } from "../uplink/mod.ts";
import type { BackendStreams } from "./backend_streams.ts";
import type { DatagramEnd } from "./datagram_end.ts";
import { P2P_ANSWER_RATE, P2P_RATE_LIMITS } from "./limits.ts";
import type { ConnectorMetric } from "./metrics.ts";
import { P2pDetours } from "./p2p_detours.ts";
import { createP2pProfile, p2pAccepting, p2pResetHmac } from "./p2p_accepting.ts";
import { droppedPackets, P2pListener } from "./p2p_listener.ts";
import { P2pSignals } from "./p2p_signals.ts";
import type { Service, ServiceTable } from "./services.ts";

export interface P2pParts {
  readonly hub: UplinkHub;
  readonly services: ServiceTable;
  readonly streams: BackendStreams;
  readonly datagrams: DatagramEnd;
  readonly serverConnectionOf: (service: Service) => Connection | null;
}

type Count = (metric: ConnectorMetric, amount: number) => void;

const CONTROL_METRICS: Readonly<Record<ControlEvent, ConnectorMetric>> = {
  "keepalive-answered": "p2pKeepalives",
  "binding-answered": "p2pBindings",
  "over-limit": "p2pDroppedLimit",
  "dropped": "p2pDroppedControl",
};

export class P2p {
  readonly signals: P2pSignals;
  readonly #plane: Plane;
  readonly #plan: P2pPlan | null;
  readonly #count: Count;
  readonly #admission: Admission | null;
  readonly #control: DirectControl | null;
  readonly #detours: P2pDetours | null;
  #parts: P2pParts | null = null;
  #listener: P2pListener | null = null;
  /** What of the endpoint's own counts was published. */
  #published = { malformed: 0, unknown: 0, limit: 0 };

  constructor(plane: Plane, plan: ConnectorPlan, count: Count, streams: () => BackendStreams) {
    this.#plane = plane;
    this.#plan = plan.p2p ?? null;
    this.#count = count;
    this.#admission = this.#plan === null ? null : new Admission(plane, P2P_RATE_LIMITS);
    this.#control = this.#plan === null ? null : new DirectControl({
      plane,
      onEvent: (event) => count(CONTROL_METRICS[event], 1),
      answers: P2P_ANSWER_RATE,
      answersKeepalives: true,
      onBindingRequest: () => true,
      onBindingResponse: (response, from) => this.signals.onBindingResponse(response, from),
    });
    this.#detours = this.#plan === null ? null : new P2pDetours({ plane, hub: () => this.#hub, count });
    this.signals = new P2pSignals({
      plane,
      plan: this.#plan,
      service: (id) => this.#parts?.services.byId(id),
      allowLegacyServiceIds: plan.uplink.allowLegacyServiceIds,
      allowLoopback: plan.uplink.servers.flatMap(({ addresses }) => addresses).every((address) =>
        address.startsWith("127.") || address === "::1"
      ),
      control: this.#control,
      socketFor: (address) => this.#parts?.hub.socketFor(address),
      count,
      streamOf: (connection, stream) => streams().signallingOn(connection, stream),
      onEnd: (connection, stream) => streams().leave(connection, stream),
    });
  }

  /** How the hub takes agents in; null when it takes none. */
  get listening(): HubListening | null {
    const admission = this.#admission;
    const control = this.#control;
    if (this.#plan === null || admission === null || control === null) return null;
    const listener = () => this.#listener;
    const guests: EndpointHandler = {
      onEstablished: (connection, nowMs) => listener()?.onEstablished(connection, nowMs),
      onDatagram: (connection, offset, length, nowMs) => listener()?.onDatagram(connection, offset, length, nowMs),
      onReadable: (connection, stream, nowMs) => listener()?.onReadable(connection, stream, nowMs),
      onWritable: (connection, stream) => listener()?.onWritable(connection, stream),
      onMigrated: (connection) => listener()?.onMigrated(connection),
      onClosed: (connection, ending, nowMs) => listener()?.onClosed(connection, ending, nowMs),
    };
    return {
      binds: this.#plan.binds,
      accepting: p2pAccepting(this.#plane, admission),
      resetHmac: p2pResetHmac(this.#plane),
      guests,
      takesPacket: (socket, offset, length, from) => control.take(socket, offset, length, from),
    };
  }

  /** Lets agents in from now on. Throws a PosternError when the material does not fit together. */
  begin(parts: P2pParts, onSize: (connections: number) => void): void {
    this.#parts = parts;
    if (this.#plan === null || this.#admission === null) return;
    const { services, streams, datagrams, serverConnectionOf, hub } = parts;
    this.#listener = new P2pListener({
      plane: this.#plane,
      plan: this.#plan,
      admission: this.#admission,
      services,
      streams,
      datagrams,
      serverConnectionOf,
      count: this.#count,
      onSize,
    });
    datagrams.own = this.#detours;
    hub.endpoint.accept(this.#listener.profile);
  }

  /** No more are let in. */
  stop(): void {
    if (this.#listener !== null) this.#parts?.hub.endpoint.accept(null);
  }

  /** The profile of another plan's material, null when there is nothing to replace; as a text why it cannot be. */
  prepare(plan: ConnectorPlan): EngineProfile | null | string {
    if (this.#listener === null || plan.p2p === undefined) return null;
    try {
      return createP2pProfile(this.#plane, plan.p2p);
    } catch (error) {
      return messageOf(error);
    }
  }

  /** Goes over to what {@linkcode prepare} made of `plan`. */
  replace(profile: EngineProfile, plan: ConnectorPlan): void {
    this.#listener?.replace(profile, plan.p2p?.revocation.denied ?? []);
    if (!this.#plane.isStopping) this.#parts?.hub.endpoint.accept(profile);
  }

  /** Agents that are connected directly. */
  get peers(): number {
    return this.#listener?.size ?? 0;
  }

  status(peersMax: number, nowMs: number): PeerStatus[] {
    return this.#listener?.status(peersMax, nowMs) ?? [];
  }

  /** Refuses a certificate from now on. Returns how many connections that ends. */
  deny(entry: DenyEntry): number {
    return this.#listener?.deny(entry) ?? 0;
  }

  disconnect(id: number): boolean {
    return this.#listener?.disconnect(id) ?? false;
  }

  get #hub(): UplinkHub {
    if (this.#parts === null) throw new Error("postern: internal error: no hub yet");
    return this.#parts.hub;
  }

  /** Brings the endpoint's counts among the role's. */
  publish(): void {
    if (this.#listener === null || this.#parts === null) return;
    const dropped = droppedPackets(this.#parts.hub.endpoint.counters);
    this.#count("p2pDroppedMalformed", dropped.malformed - this.#published.malformed);
    this.#count("p2pDroppedUnknown", dropped.unknown - this.#published.unknown);
    this.#count("p2pDroppedLimit", dropped.limit - this.#published.limit);
    this.#published = dropped;
  }
}
