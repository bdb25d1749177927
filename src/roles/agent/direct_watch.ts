/**
 * Looks after direct paths that are up: whether they carry, told by answers to keepalives inside of TLS, what becomes of those that do
 * not, and which nobody uses any more.
 *
 *   up ──lost while in use──► detour ──found again──► up
 */
import { Timer } from "../../base/mod.ts";
import { validityProblem } from "../../core/auth/mod.ts";
import type { Connection } from "../../core/quic/mod.ts";
import { PathHealth, type PathState } from "../../core/signal/mod.ts";
import { CloseCode, encodeKeepalive, KEEPALIVE_LENGTH } from "../../core/wire/mod.ts";
import type { Plane } from "../control/mod.ts";
import type { Detours } from "./detours.ts";
import { type Route, ROUTE_MESSAGES } from "./direct_route.ts";
import { DETOUR_LOOK_MS, DETOUR_RETRY_MS, DIRECT_IDLE_MS } from "./limits.ts";
import type { AgentMetric } from "./metrics.ts";

export interface DirectWatchOptions {
  readonly plane: Plane;
  readonly routes: Pick<ReadonlyMap<string, Route>, "values">;
  readonly detours: Detours;
  readonly count: (metric: AgentMetric, amount: number) => void;
  /** Whether something runs on the connection. */
  readonly isInUse: (connection: Connection, nowMs: number) => boolean;
  /** What has given the connection nothing yet should take another way. */
  readonly retreat: (connection: Connection, nowMs: number) => void;
  /** Asks for the connector of the service once more. False when that cannot be asked now. */
  readonly lookAgain: (service: string, nowMs: number) => boolean;
}

/** Looks at a path at rest this often. */
const WATCH_MS = 60_000;

export class DirectWatch {
  readonly #options: DirectWatchOptions;
  readonly #keepaliveAt: number;
  readonly #timer = new Timer((nowMs) => this.#watch(nowMs));

  constructor(options: DirectWatchOptions) {
    this.#options = options;
    this.#keepaliveAt = options.plane.platform.layout.reserve(KEEPALIVE_LENGTH);
  }

  /** An answer to a keepalive. */
  answered(route: Route, sequence: number, nowMs: number): void {
    const { health } = route;
    if (health === null) return;
    const before = health.state;
    health.handleResponse(sequence, nowMs);
    this.#noteHealth(route, before, health.state, nowMs);
    this.arm(nowMs);
  }

  #watch(nowMs: number): void {
    for (const route of this.#options.routes.values()) {
      const { connection, health, identity } = route;
      if (connection === null || connection.isClosing) continue;
      if (route.state === "dialling" && nowMs >= route.dialEndsMs) connection.close(CloseCode.shuttingDown, "no answer in time");
      if (health === null || identity === null) continue;
      if (validityProblem(identity, this.#options.plane.platform.wallClockMs()) !== null) {
        connection.close(CloseCode.certificateVoid, "the certificate has expired");
        continue;
      }
      const isInUse = this.#options.isInUse(connection, nowMs);
      if (isInUse) route.usedMs = nowMs;
      else if (nowMs >= route.usedMs + DIRECT_IDLE_MS) {
        connection.close(CloseCode.shuttingDown, "not used");
        continue;
      }
      if (route.state === "detour") {
        if (nowMs >= route.lookMs) this.#keepDetour(route, nowMs);
      } else this.#askHealth(route, connection, health, isInUse, nowMs);
    }
    this.arm(nowMs);
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
    if (isInUse && health.state === "lost") this.#leave(route, connection, nowMs);
  }

  #noteHealth(route: Route, before: PathState, after: PathState, nowMs: number): void {
    if (before === after || route.connection === null) return;
    if (after === "good") return this.log("direct-back", route, {});
    if (before !== "good") return;
    this.#options.count("directFallbacks", 1);
    this.log("direct-doubtful", route, {});
    this.#options.retreat(route.connection, nowMs);
  }

  /** The path is lost: what runs on it goes by the server. */
  #leave(route: Route, connection: Connection, nowMs: number): void {
    if (!this.#options.detours.begin(route.service, connection, nowMs)) return;
    route.state = "detour";
    route.retryAtMs = nowMs + DETOUR_RETRY_MS;
    route.lookMs = nowMs + DETOUR_LOOK_MS;
    this.#options.count("directDetours", 1);
    this.log("direct-detour", route, {});
  }

  /** Looks for the connector as at first: NATs on the way may have forgotten both sides. */
  #keepDetour(route: Route, nowMs: number): void {
    this.#options.detours.keep(route.service, nowMs);
    route.lookMs = nowMs + DETOUR_LOOK_MS;
    if (route.isAskedAgain || nowMs < route.retryAtMs) return;
    route.isAskedAgain = this.#options.lookAgain(route.service, nowMs);
    if (!route.isAskedAgain) route.retryAtMs = nowMs + DETOUR_RETRY_MS;
  }

  /** It was asked for in vain. */
  stillLost(route: Route, nowMs: number): void {
    route.isAskedAgain = false;
    route.retryAtMs = nowMs + DETOUR_RETRY_MS;
  }

  /** The connector has answered us directly. Under another address than before it is nobody to the engine. */
  foundAgain(route: Route, address: string, nowMs: number): void {
    this.stillLost(route, nowMs);
    if (route.state !== "detour" || address !== route.address) return;
    this.#options.detours.end(route.service);
    route.state = "up";
    route.health = new PathHealth(nowMs);
    this.#options.count("directReturns", 1);
    this.log("direct-back", route, {});
    this.arm(nowMs);
  }

  log(event: keyof typeof ROUTE_MESSAGES, { service, address }: Route, fields: Readonly<Record<string, string | number>>): void {
    this.#options.plane.log("info", event, ROUTE_MESSAGES[event], { service, ...(address === "" ? {} : { address }), ...fields });
  }

  /** Sees to it that the next look comes in time, after something has changed. */
  arm(nowMs: number): void {
    let nextMs = Infinity;
    for (const route of this.#options.routes.values()) {
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
