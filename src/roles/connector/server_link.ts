/**
 * One connection to the server with the services that are registered on it. On ztna-v2 those are all that it was assigned. On
 * ztna-v1, whose packets do not say their service, it is one (WIRE 5.5): the first that was assigned when the connection came up; and
 * since a registration ends there with its connection only, giving it back means to close, once nothing runs on it any more.
 */
import type { Connection } from "../../core/quic/mod.ts";
import { ALPN_V2, classifyFrame, decodeQad, FrameKind } from "../../core/wire/mod.ts";
import type { SocketAddress } from "../../base/mod.ts";
import type { Plane, UplinkPlan, UplinkReport } from "../control/mod.ts";
import { Registrar, type RegistrationState, Uplink, type UplinkHub, type UplinkRole, type UplinkTrouble } from "../uplink/mod.ts";
import type { StreamOrigin } from "./backend_stream.ts";
import type { BackendStreams } from "./backend_streams.ts";
import type { DatagramEnd, PacketSource, WayBack } from "./datagram_end.ts";
import type { ConnectorMetric } from "./metrics.ts";
import type { Service, ServiceTable } from "./services.ts";

/** What all links share. */
export interface LinkContext {
  readonly plane: Plane;
  readonly plan: UplinkPlan;
  readonly hub: UplinkHub;
  /** See {@linkcode Registrar}. */
  readonly frameAt: number;
  readonly services: ServiceTable;
  readonly streams: BackendStreams;
  readonly datagrams: DatagramEnd;
  readonly count: (metric: ConnectorMetric, amount: number) => void;
  /** Which version the server speaks is known: what is registered where may change. */
  readonly onProving: (link: ServerLink, nowMs: number) => void;
  /** It came up or went down, or the state of a registration has changed. */
  readonly onChanged: (link: ServerLink) => void;
  /** The address under which the server sees us. */
  readonly onAddress: (address: SocketAddress) => void;
  readonly onFinalTrouble: (trouble: UplinkTrouble) => void;
  /** The server does not let us serve this. */
  readonly onDenied: (service: string) => void;
}

export class ServerLink implements UplinkRole, PacketSource, StreamOrigin {
  readonly owner = { agentKey: null, origin: null };
  readonly flowOwner = this.owner;
  readonly from = "server";
  readonly streamsKey = null;
  readonly agent = null;
  readonly #context: LinkContext;
  readonly #uplink: Uplink;
  readonly #registrar: Registrar;
  readonly #isFirst: boolean;
  #assigned: readonly Service[] = [];
  /** Null while there is none, even one that is still proving. */
  #connection: Connection | null = null;
  /** On ztna-v1 the service that this connection has registered, until it ends. */
  #held: Service | null = null;

  /** `isFirst`: when the server refuses us for good, the role ends. Others only try again. */
  constructor(context: LinkContext, isFirst: boolean) {
    this.#context = context;
    this.#isFirst = isFirst;
    const { plane, plan, hub, frameAt } = context;
    this.#uplink = new Uplink(plane, plan, this, { hub, isExpectedToWork: !isFirst });
    this.#registrar = new Registrar({
      plane,
      role: "connector",
      frameAt,
      onAnswered: (isAcknowledged, nowMs) => {
        this.#uplink.answered(nowMs);
        if (isAcknowledged) this.#uplink.succeeded();
        context.onChanged(this);
      },
      onDenied: context.onDenied,
    });
  }

  /** What the server speaks on this connection; null while that is not known. */
  get version(): "v1" | "v2" | null {
    if (this.#connection === null) return null;
    return this.#connection.engine.applicationProtocol() === ALPN_V2 ? "v2" : "v1";
  }

  get isUp(): boolean {
    return this.#uplink.connection !== null;
  }

  get connection(): Connection | null {
    return this.#uplink.connection;
  }

  get assigned(): readonly Service[] {
    return this.#assigned;
  }

  /** The service that this connection cannot exchange for another. */
  get held(): Service | null {
    return this.#held;
  }

  get registeredCount(): number {
    return this.#registrar.registeredCount;
  }

  /** It is connected for nothing: when nothing runs on it any more, {@linkcode closeIfIdle} closes it. */
  get isLeaving(): boolean {
    if (this.#connection === null) return false;
    if (this.#held !== null) return !this.#assigned.includes(this.#held);
    return !this.#isFirst && this.#assigned.length === 0;
  }

  stateOf(service: Service): RegistrationState | null {
    return this.#registrar.stateOf(service.id);
  }

  report(nowMs: number): UplinkReport {
    return this.#uplink.report(nowMs);
  }

  start(nowMs: number): void {
    this.#uplink.start(nowMs);
  }

  /** From now on it is for these services. Without any it does not dial. */
  assign(services: readonly Service[], nowMs: number): void {
    this.#assigned = services;
    const wanted = this.version === "v1" ? services.filter((service) => service === this.#hold(services)) : services;
    this.#registrar.setServices(wanted.map(({ id }) => id), nowMs);
    if (this.#connection !== null) return;
    if (services.length === 0) this.#uplink.pause("no service to offer");
    else this.#uplink.resume(nowMs);
  }

  /** Closes a connection that is for nothing any more, unless something still runs on it. */
  closeIfIdle(): void {
    const { streams, datagrams } = this.#context;
    const connection = this.#connection;
    if (connection === null || !this.isLeaving) return;
    if (streams.sizeOf(connection) > 0 || datagrams.sessionsOn(connection) > 0) return;
    this.#uplink.pause("the service is withdrawn");
  }

  stop(reason: string): void {
    this.#uplink.stop(reason);
  }

  onProving(connection: Connection, nowMs: number): void {
    this.#connection = connection;
    this.#context.onProving(this, nowMs);
    this.#registrar.begin(connection, nowMs);
  }

  onUp(): void {
    this.#context.onChanged(this);
  }

  onDown(connection: Connection, nowMs: number): void {
    const { streams, datagrams, count, onChanged } = this.#context;
    this.#connection = null;
    this.#held = null;
    this.#registrar.end();
    if (!this.#uplink.isPaused) count("reconnections", 1);
    streams.onDown(connection);
    datagrams.onDown(connection, nowMs);
    if (this.#assigned.length > 0) this.#uplink.resume(nowMs);
    onChanged(this);
  }

  onDatagram(_connection: Connection, offset: number, length: number, nowMs: number): void {
    const { plane, datagrams, count } = this.#context;
    const kind = classifyFrame(plane.platform.engine.arena.bytes, offset, length);
    switch (kind) {
      case FrameKind.ack:
      case FrameKind.nack:
        return this.#registrar.onReply(offset, length, nowMs);
      case FrameKind.ipv4:
      case FrameKind.ipv6:
      case FrameKind.routed:
        return datagrams.onDatagram(this, offset, length, nowMs);
      case FrameKind.qad4:
      case FrameKind.qad6:
        return this.#onAddress(offset, length, nowMs);
      default:
        count("droppedKind", 1);
    }
  }

  onReadable(connection: Connection, stream: number, nowMs: number): void {
    this.#context.streams.onReadable(this, connection, stream, nowMs);
  }

  onWritable(connection: Connection, stream: number): void {
    this.#context.streams.onWritable(connection, stream);
  }

  onFinalTrouble(trouble: UplinkTrouble): void {
    this.#context.onFinalTrouble(trouble);
  }

  serviceOfBare(): Service | null {
    if (this.#held !== null) return this.#held;
    // On ztna-v2 a packet without a name could be of any service (WIRE 5.5), and who may reach one may not reach all.
    const { all } = this.#context.services;
    return all.length === 1 ? all[0] ?? null : null;
  }

  /** The server has a limit of its own for everybody behind it. */
  mayOpen(): boolean {
    return true;
  }

  /** The server has judged who may what; on ztna-v1 it knows this connection for one service. */
  mayReach(service: Service): boolean {
    return this.#held === null || service === this.#held;
  }

  wayBack(_service: Service, isWrapped: boolean): WayBack | null {
    const connection = this.#connection;
    return connection === null ? null : { connection, isWrapped };
  }

  /** On ztna-v1: the service of this connection, once and for all. */
  #hold(services: readonly Service[]): Service | null {
    this.#held ??= services[0] ?? null;
    return this.#held;
  }

  #onAddress(offset: number, length: number, nowMs: number): void {
    const { plane, onAddress } = this.#context;
    const report = decodeQad(plane.platform.engine.arena.bytes, offset, length);
    if (report.kind === "malformed") return;
    onAddress(report.address);
    // The server speaks to nobody whose certificate it refuses, so the connection is good whatever becomes of the services.
    this.#uplink.answered(nowMs);
    if (this.#registrar.isEmpty) this.#uplink.succeeded();
  }
}
