/**
 * Direct paths to connectors (WIRE 6): a service that is used goes by the server, and meanwhile the agent looks for its connector
 * (`direct_signals`), dials it from the socket of the uplink, and lets the next streams go there. The server stays as the floor:
 * whatever a direct path cannot do goes that way. What becomes of a path that is up is `direct_watch`'s.
 *
 *   relay ──used──► asking ──found──► dialling ──its first word──► up        any ──failed, closed──► relay, and later again
 */
import { type SocketAddress, toHex } from "../../base/mod.ts";
import { authorize, identityFrom, STRICT_AUTHORIZATION } from "../../core/auth/mod.ts";
import type { Connection, Ending, EndpointHandler } from "../../core/quic/mod.ts";
import { PathHealth } from "../../core/signal/mod.ts";
import { ALPN_V2, classifyFrame, CloseCode, decodeQad, FrameKind, keepaliveSequence } from "../../core/wire/mod.ts";
import { formatEndpoint } from "../../io/mod.ts";
import type { AgentPlan, DirectPlan, Plane } from "../control/mod.ts";
import { DirectControl, type PacketTaker, type UplinkHub } from "../uplink/mod.ts";
import { DirectChecks } from "./direct_checks.ts";
import { describeRoute, newRoute, type Route } from "./direct_route.ts";
import { DirectSignals } from "./direct_signals.ts";
import { DirectWatch } from "./direct_watch.ts";
import { Detours, type DetoursOptions } from "./detours.ts";
import { BINDING_ANSWER_RATE, DIRECT_DIAL_MS, SERVICES_MAX } from "./limits.ts";
import type { DirectWays, LocalConnections } from "./local_connections.ts";
import type { AgentMetric } from "./metrics.ts";
import type { PacketEnd } from "./packet_end.ts";

export interface DirectOptions extends Pick<DetoursOptions, "wayOf" | "source"> {
  readonly packets: PacketEnd;
  readonly plane: Plane;
  readonly plan: AgentPlan;
  readonly direct: DirectPlan;
  readonly hub: () => UplinkHub;
  readonly connections: LocalConnections;
  readonly count: (metric: AgentMetric, amount: number) => void;
  /** Whether the server has us as an agent of the service; asks it for that where not. */
  readonly isRegistered: (service: string, nowMs: number) => boolean;
}

/** The name that a connector's certificate for direct connections has (WIRE 2.3). */
const CONNECTOR_NAME = "ztna-connector";
/** What was used so lately is asked for. */
const RECENT_MS = 60_000;
const NOTHING = new Uint8Array(0);

export class Direct implements EndpointHandler, DirectWays {
  readonly #options: DirectOptions;
  readonly #signals: DirectSignals;
  readonly #control: DirectControl;
  /** Of connections whose own path is lost. */
  readonly detours: Detours;
  readonly #routes = new Map<string, Route>();
  readonly #byConnection = new Map<Connection, Route>();
  readonly #checks: DirectChecks;
  #trustPem: Uint8Array;
  readonly #watch: DirectWatch;

  constructor(options: DirectOptions) {
    this.#options = options;
    const { plane, plan, direct, hub, connections, packets, count } = options;
    this.#trustPem = plan.uplink.tls.trustPem ?? NOTHING;
    this.#checks = new DirectChecks({
      plane,
      dial: ({ ip, port }, owner) => hub().connect({ address: ip, port }, CONNECTOR_NAME, owner),
      onRefused: (connection, why) => connection.close(CloseCode.certificateVoid, why),
    });
    this.#signals = new DirectSignals({
      plane,
      hostAddresses: direct.hostAddresses,
      allowLegacyServiceIds: plan.uplink.allowLegacyServiceIds,
      allowLoopback: plan.uplink.servers.flatMap(({ addresses }) => addresses).every((address) =>
        address.startsWith("127.") || address === "::1"
      ),
      socketFor: (address) => hub().socketFor(address),
      control: () => this.#control,
      takeStream: (connection) => connections.takeStream(connection),
      onFound: (service, address, nowMs) => this.#dial(service, address, nowMs),
      onFailed: (service, why, nowMs) => this.#notFound(service, why, nowMs),
    });
    this.detours = new Detours({ plane, hub, count, wayOf: options.wayOf, source: options.source });
    this.#watch = new DirectWatch({
      plane,
      routes: this.#routes,
      detours: this.detours,
      count,
      isInUse: (connection, nowMs) => connections.sizeOn(connection) > 0 || packets.direct.isInUse(connection, nowMs),
      retreat: (connection, nowMs) => connections.retreat(connection, nowMs),
      lookAgain: (service, nowMs) => this.#signals.offer(service, nowMs),
    });
    this.#control = new DirectControl({
      plane,
      onEvent: (event) => count(event === "binding-answered" ? "directBindings" : "directDropped", 1),
      answers: BINDING_ANSWER_RATE,
      answersKeepalives: false,
      onBindingRequest: (from) => this.#signals.onBindingRequest(from),
      onBindingResponse: (response, from) => this.#signals.onBindingResponse(response, from),
    });
  }

  /** What comes to the uplink's sockets and is no QUIC. */
  readonly takesPacket: PacketTaker = (socket, offset, length, from) => this.#control.take(socket, offset, length, from);

  /** Takes the service's direct path if it carries. */
  take(service: string, nowMs: number): Connection | null {
    const route = this.#routes.get(service);
    if (route === undefined) return null;
    route.usedMs = nowMs;
    this.#ask(route, nowMs);
    if (route.state !== "up" || route.health?.state !== "good") return null;
    route.health.setBusy(true, nowMs);
    this.#watch.arm(nowMs);
    return route.connection;
  }

  /** Looks for a direct path to a service that is in use. Local programs may name what they like: only what accepted us counts. */
  accepted(service: string, nowMs: number): void {
    const route = this.#routes.get(service) ?? this.#add(service, nowMs);
    if (route === null) return;
    route.usedMs = nowMs;
    this.#ask(route, nowMs);
  }

  /** How the service's next stream goes, for people. */
  describe(service: string): string {
    return describeRoute(this.#routes.get(service));
  }

  /** The server is reached, perhaps from another network than before. */
  onUp(connection: Connection): void {
    this.#signals.begin(connection);
    for (const route of this.#routes.values()) {
      route.backoff.reset();
      route.retryAtMs = 0;
    }
  }

  onDown(nowMs: number): void {
    this.#signals.end(nowMs);
  }

  /** The server's report of our address, a DATAGRAM. */
  onAddress(offset: number, length: number, nowMs: number): void {
    const report = decodeQad(this.#options.plane.platform.engine.arena.bytes, offset, length);
    if (report.kind !== "qad") return;
    this.#signals.setAddress(report.address);
    this.askAgain(nowMs);
  }

  /** What was used a moment ago may be asked for now: the server has acknowledged a registration. */
  askAgain(nowMs: number): void {
    for (const route of this.#routes.values()) if (nowMs - route.usedMs < RECENT_MS) this.#ask(route, nowMs);
  }

  onReadable(connection: Connection, stream: number, nowMs: number): void {
    if (this.#signals.has(connection, stream)) this.#signals.onReadable(nowMs);
    else this.#options.connections.onReadable(connection, stream);
  }

  onWritable(connection: Connection, stream: number): void {
    if (this.#signals.has(connection, stream)) this.#signals.onWritable();
    else this.#options.connections.onWritable(connection, stream);
  }

  onEstablished(): void {
    // Nothing is said before the connector has said that it lets us in.
  }

  onDatagram(connection: Connection, offset: number, length: number, nowMs: number): void {
    const route = this.#byConnection.get(connection);
    if (route === undefined) return;
    const { bytes } = this.#options.plane.platform.engine.arena;
    switch (classifyFrame(bytes, offset, length)) {
      case FrameKind.qad4:
      case FrameKind.qad6:
        return this.#admitted(route, connection, nowMs);
      case FrameKind.keepaliveResponse:
        return this.#watch.answered(route, keepaliveSequence(bytes, offset), nowMs);
      case FrameKind.routed:
        if (this.#options.packets.onDirectDatagram(connection, offset, length, nowMs)) return;
        return this.#options.count("droppedUnserved", 1);
      default:
        this.#options.count("droppedUnserved", 1);
    }
  }

  onClosed(connection: Connection, ending: Ending, nowMs: number): void {
    const route = this.#byConnection.get(connection);
    if (route === undefined) return;
    this.#byConnection.delete(connection);
    const wasUp = route.state === "up" || route.state === "detour";
    if (route.state === "detour") this.detours.end(route.service);
    route.isAskedAgain = false;
    route.connection = null;
    route.health = null;
    route.identity = null;
    this.#options.connections.onDown(connection, nowMs);
    this.#options.packets.direct.end(connection, nowMs);
    const why = ending.info === null ? "no answer" : ending.info.reason === "" ? `code ${ending.info.code}` : ending.info.reason;
    if (!wasUp) return this.#fail(route, `the dial failed: ${why}`, nowMs);
    this.#options.count("directConnections", -1);
    route.state = "relay";
    route.retryAtMs = nowMs + route.backoff.next(this.#options.plane.platform.random());
    this.#watch.log("direct-closed", route, { by: ending.by, why });
  }

  /** Other authorities are trusted from now on, perhaps: those who were trusted by the ones before show themselves again. */
  onReload(trustPem: Uint8Array | null, nowMs: number): void {
    if (toHex(trustPem ?? NOTHING) === toHex(this.#trustPem)) return;
    this.#trustPem = trustPem ?? NOTHING;
    for (const { connection, place, state } of this.#routes.values()) {
      if (connection === null || place === null || connection.isClosing) continue;
      if (state === "dialling") connection.close(CloseCode.shuttingDown, "other authorities are trusted now");
      else this.#checks.begin(connection, place, nowMs);
    }
  }

  /** Closes all of them, for good. */
  stop(): void {
    for (const connection of this.#byConnection.keys()) connection.close(CloseCode.shuttingDown, "agent shutting down");
  }

  #add(service: string, nowMs: number): Route | null {
    if (this.#routes.size >= SERVICES_MAX) return null;
    const route = newRoute(service, nowMs);
    this.#routes.set(service, route);
    return route;
  }

  #ask(route: Route, nowMs: number): void {
    const { plane, isRegistered, count } = this.#options;
    if (route.state !== "relay" || nowMs < route.retryAtMs || plane.isStopping) return;
    if (!isRegistered(route.service, nowMs) || !this.#signals.offer(route.service, nowMs)) return;
    route.state = "asking";
    count("directAttempts", 1);
  }

  #notFound(service: string, why: string, nowMs: number): void {
    const route = this.#routes.get(service);
    if (route?.state === "asking") this.#fail(route, why, nowMs);
    else if (route?.isAskedAgain === true) this.#watch.stillLost(route, nowMs);
  }

  #dial(service: string, { ip, port }: SocketAddress, nowMs: number): void {
    const route = this.#routes.get(service);
    if (route?.isAskedAgain === true) return this.#watch.foundAgain(route, formatEndpoint({ address: ip, port }), nowMs);
    if (route?.state !== "asking") return;
    const connection = this.#options.hub().connect({ address: ip, port }, CONNECTOR_NAME, this);
    if (connection === null) return this.#fail(route, "there is no way to its address", nowMs);
    route.state = "dialling";
    route.connection = connection;
    route.address = formatEndpoint({ address: ip, port });
    route.place = { ip, port };
    route.dialEndsMs = nowMs + DIRECT_DIAL_MS;
    this.#byConnection.set(connection, route);
    this.#watch.arm(nowMs);
  }

  /** The connector has let us in: "established" alone does not say that (WIRE 2.9). Now we see whether we let it. */
  #admitted(route: Route, connection: Connection, nowMs: number): void {
    if (route.state !== "dialling") return;
    const certificate = connection.engine.peerCertificate();
    const identity = certificate === null ? null : identityFrom(certificate);
    if (identity === null || identity.kind === "problem") return this.#refuse(connection, "its certificate is not usable");
    if (!authorize(identity, "connector", route.service, STRICT_AUTHORIZATION).allowed) {
      return this.#refuse(connection, `its certificate does not name connector.${route.service}.ztna`);
    }
    if (connection.engine.applicationProtocol() !== ALPN_V2) return this.#refuse(connection, "it speaks ztna-v1 only");
    route.state = "up";
    route.identity = identity;
    route.usedMs = nowMs;
    route.health = new PathHealth(nowMs);
    route.backoff.reset();
    this.#options.connections.onDirect(connection);
    this.#options.count("directConnections", 1);
    this.#watch.log("direct-opened", route, { connector: identity.commonName });
    this.#watch.arm(nowMs);
  }

  #refuse(connection: Connection, why: string): void {
    connection.close(CloseCode.certificateMissing, why);
  }

  #fail(route: Route, why: string, nowMs: number): void {
    const retryMs = route.backoff.next(this.#options.plane.platform.random());
    route.state = "relay";
    route.retryAtMs = nowMs + retryMs;
    this.#options.count("directFailures", 1);
    this.#watch.log("direct-failed", route, { why, retry_ms: retryMs });
  }
}
