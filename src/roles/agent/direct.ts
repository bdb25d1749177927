/**
 * Direct paths to connectors (WIRE 6): a service that is used goes by the server, and meanwhile the agent looks for its connector
 * (`direct_signals`), dials it from the socket of the uplink, and lets the next streams go there. The server stays as the floor:
 * whatever a direct path cannot do goes that way.
 *
 *   relay ──used──► asking ──found──► dialling ──its first word──► up        any ──failed, closed──► relay, and later again
 *   up ──lost while in use──► detour ──found again──► up
 */
import { type SocketAddress, Timer } from "../../base/mod.ts";
import { authorize, identityFrom, STRICT_AUTHORIZATION, validityProblem } from "../../core/auth/mod.ts";
import type { Connection, Ending, EndpointHandler } from "../../core/quic/mod.ts";
import { PathHealth, type PathState } from "../../core/signal/mod.ts";
import {
  ALPN_V2,
  classifyFrame,
  CloseCode,
  decodeQad,
  encodeKeepalive,
  FrameKind,
  KEEPALIVE_LENGTH,
  keepaliveSequence,
} from "../../core/wire/mod.ts";
import { formatEndpoint } from "../../io/mod.ts";
import type { AgentPlan, DirectPlan, Plane } from "../control/mod.ts";
import { DirectControl, type PacketTaker, type UplinkHub } from "../uplink/mod.ts";
import { describeRoute, newRoute, type Route, ROUTE_MESSAGES } from "./direct_route.ts";
import { DirectSignals } from "./direct_signals.ts";
import { Detours, type DetoursOptions } from "./detours.ts";
import { BINDING_ANSWER_RATE, DETOUR_LOOK_MS, DETOUR_RETRY_MS, DIRECT_DIAL_MS, DIRECT_IDLE_MS, SERVICES_MAX } from "./limits.ts";
import type { DirectWays, LocalConnections } from "./local_connections.ts";
import type { AgentMetric } from "./metrics.ts";

export interface DirectOptions extends Pick<DetoursOptions, "wayOf" | "source"> {
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
/** Looks at a path at rest this often. */
const WATCH_MS = 60_000;

export class Direct implements EndpointHandler, DirectWays {
  readonly #options: DirectOptions;
  readonly #signals: DirectSignals;
  readonly #control: DirectControl;
  /** Of connections whose own path is lost. */
  readonly detours: Detours;
  readonly #routes = new Map<string, Route>();
  readonly #byConnection = new Map<Connection, Route>();
  readonly #keepaliveAt: number;
  readonly #timer = new Timer((nowMs) => this.#watch(nowMs));

  constructor(options: DirectOptions) {
    this.#options = options;
    const { plane, plan, direct, hub, connections, count } = options;
    this.#keepaliveAt = plane.platform.layout.reserve(KEEPALIVE_LENGTH);
    this.#signals = new DirectSignals({
      plane,
      hostAddresses: direct.hostAddresses,
      allowLegacyServiceIds: plan.uplink.allowLegacyServiceIds,
      allowLoopback: plan.uplink.serverAddresses.every((address) => address.startsWith("127.") || address === "::1"),
      socketFor: (address) => hub().socketFor(address),
      control: () => this.#control,
      takeStream: (connection) => connections.takeStream(connection),
      onFound: (service, address, nowMs) => this.#dial(service, address, nowMs),
      onFailed: (service, why, nowMs) => this.#notFound(service, why, nowMs),
    });
    this.detours = new Detours({ plane, hub, count, wayOf: options.wayOf, source: options.source });
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
    this.#arm(nowMs);
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
    for (const route of this.#routes.values()) if (nowMs - route.usedMs < WATCH_MS) this.#ask(route, nowMs);
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
        return this.#answered(route, keepaliveSequence(bytes, offset), nowMs);
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
    const why = ending.info === null ? "no answer" : ending.info.reason === "" ? `code ${ending.info.code}` : ending.info.reason;
    if (!wasUp) return this.#fail(route, `the dial failed: ${why}`, nowMs);
    this.#options.count("directConnections", -1);
    route.state = "relay";
    route.retryAtMs = nowMs + route.backoff.next(this.#options.plane.platform.random());
    this.#log("direct-closed", route, { by: ending.by, why });
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
    else if (route?.isAskedAgain === true) this.#stillLost(route, nowMs);
  }

  #dial(service: string, { ip, port }: SocketAddress, nowMs: number): void {
    const route = this.#routes.get(service);
    if (route?.isAskedAgain === true) return this.#foundAgain(route, formatEndpoint({ address: ip, port }), nowMs);
    if (route?.state !== "asking") return;
    const connection = this.#options.hub().connect({ address: ip, port }, CONNECTOR_NAME, this);
    if (connection === null) return this.#fail(route, "there is no way to its address", nowMs);
    route.state = "dialling";
    route.connection = connection;
    route.address = formatEndpoint({ address: ip, port });
    route.dialEndsMs = nowMs + DIRECT_DIAL_MS;
    this.#byConnection.set(connection, route);
    this.#arm(nowMs);
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
    this.#log("direct-opened", route, { connector: identity.commonName });
    this.#arm(nowMs);
  }

  #refuse(connection: Connection, why: string): void {
    connection.close(CloseCode.certificateMissing, why);
  }

  #answered(route: Route, sequence: number, nowMs: number): void {
    const { health } = route;
    if (health === null) return;
    const before = health.state;
    health.handleResponse(sequence, nowMs);
    this.#noteHealth(route, before, health.state, nowMs);
    this.#arm(nowMs);
  }

  #watch(nowMs: number): void {
    for (const route of this.#routes.values()) {
      const { connection, health, identity } = route;
      if (connection === null || connection.isClosing) continue;
      if (route.state === "dialling" && nowMs >= route.dialEndsMs) connection.close(CloseCode.shuttingDown, "no answer in time");
      if (health === null || identity === null) continue;
      if (validityProblem(identity, this.#options.plane.platform.wallClockMs()) !== null) {
        connection.close(CloseCode.certificateVoid, "the certificate has expired");
        continue;
      }
      const isInUse = this.#isInUse(connection);
      if (isInUse) route.usedMs = nowMs;
      else if (nowMs >= route.usedMs + DIRECT_IDLE_MS) {
        connection.close(CloseCode.shuttingDown, "not used");
        continue;
      }
      if (route.state === "detour") {
        if (nowMs >= route.lookMs) this.#keepDetour(route, nowMs);
      } else this.#askHealth(route, connection, health, isInUse, nowMs);
    }
    this.#arm(nowMs);
  }

  #askHealth(route: Route, connection: Connection, health: PathHealth, isInUse: boolean, nowMs: number): void {
    const before = health.state;
    health.setBusy(isInUse, nowMs);
    const sequence = health.poll(nowMs);
    if (sequence !== null) {
      const { bytes } = this.#options.plane.platform.engine.arena;
      connection.engine.datagramSend(this.#keepaliveAt, encodeKeepalive(bytes, this.#keepaliveAt, "request", sequence));
      connection.touch();
    }
    this.#noteHealth(route, before, health.state, nowMs);
  }

  #noteHealth(route: Route, before: PathState, after: PathState, nowMs: number): void {
    if (before === after || route.connection === null) return;
    if (after === "good") return this.#log("direct-back", route, {});
    if (after === "lost") return this.#leave(route, route.connection, nowMs);
    if (before !== "good") return;
    this.#options.count("directFallbacks", 1);
    this.#log("direct-doubtful", route, {});
    this.#options.connections.retreat(route.connection, nowMs);
  }

  #isInUse(connection: Connection): boolean {
    return this.#options.connections.sizeOn(connection) > 0;
  }

  /** The path is lost: what runs on it goes by the server. */
  #leave(route: Route, connection: Connection, nowMs: number): void {
    if (!this.#isInUse(connection) || !this.detours.begin(route.service, connection, nowMs)) return;
    route.state = "detour";
    route.retryAtMs = nowMs + DETOUR_RETRY_MS;
    route.lookMs = nowMs + DETOUR_LOOK_MS;
    this.#options.count("directDetours", 1);
    this.#log("direct-detour", route, {});
  }

  /** Looks for the connector as at first: NATs on the way may have forgotten both sides. */
  #keepDetour(route: Route, nowMs: number): void {
    this.detours.keep(route.service, nowMs);
    route.lookMs = nowMs + DETOUR_LOOK_MS;
    if (route.isAskedAgain || nowMs < route.retryAtMs) return;
    route.isAskedAgain = this.#signals.offer(route.service, nowMs);
    if (!route.isAskedAgain) route.retryAtMs = nowMs + DETOUR_RETRY_MS;
  }

  #stillLost(route: Route, nowMs: number): void {
    route.isAskedAgain = false;
    route.retryAtMs = nowMs + DETOUR_RETRY_MS;
  }

  /** The connector has answered us directly. Under another address than before it is nobody to the engine. */
  #foundAgain(route: Route, address: string, nowMs: number): void {
    this.#stillLost(route, nowMs);
    if (route.state !== "detour" || address !== route.address) return;
    this.detours.end(route.service);
    route.state = "up";
    route.health = new PathHealth(nowMs);
    this.#options.count("directReturns", 1);
    this.#log("direct-back", route, {});
    this.#arm(nowMs);
  }

  #fail(route: Route, why: string, nowMs: number): void {
    const retryMs = route.backoff.next(this.#options.plane.platform.random());
    route.state = "relay";
    route.retryAtMs = nowMs + retryMs;
    this.#options.count("directFailures", 1);
    this.#log("direct-failed", route, { why, retry_ms: retryMs });
  }

  #log(event: keyof typeof ROUTE_MESSAGES, { service, address }: Route, fields: Readonly<Record<string, string | number>>): void {
    this.#options.plane.log("info", event, ROUTE_MESSAGES[event], { service, ...(address === "" ? {} : { address }), ...fields });
  }

  #arm(nowMs: number): void {
    let nextMs = Infinity;
    for (const route of this.#routes.values()) {
      const { state, health, dialEndsMs } = route;
      if (state === "dialling") nextMs = Math.min(nextMs, dialEndsMs);
      if (state === "detour") nextMs = Math.min(nextMs, route.lookMs);
      else if (health !== null) nextMs = Math.min(nextMs, health.nextMs, nowMs + WATCH_MS);
    }
    const { reactor } = this.#options.plane.platform;
    if (nextMs === Infinity) reactor.cancelTimer(this.#timer);
    else reactor.setTimer(this.#timer, nextMs);
  }
}
