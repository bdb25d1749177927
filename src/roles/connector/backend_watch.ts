/**
 * Looks at every backend by connecting to it, and keeps the addresses of names fresh. A backend that is down is not dialled
 * for agents: they are refused at once, or another backend of the service takes over. The registration stays, for ztna-v1 has
 * no way to take it back (WIRE 4).
 */
import { parseIp, Timer } from "../../base/mod.ts";
import { TcpSocket, writeSockaddr } from "../../io/mod.ts";
import type { Plane } from "../control/mod.ts";
import type { DialContext } from "./backend_dial.ts";
import * as limits from "./limits.ts";
import type { Backend, BackendHealth, Service, ServiceTable } from "./services.ts";

/** One backend's looks: at all of its addresses, until one accepts. */
class Look {
  readonly #context: DialContext;
  readonly #backend: Backend;
  readonly #onHealth: (health: BackendHealth) => void;
  readonly #timer = new Timer((nowMs) => this.#onTimer(nowMs));
  #socket: TcpSocket | null = null;
  #isLooking = false;
  #nextAddress = 0;
  #failures = 0;

  constructor(context: DialContext, backend: Backend, onHealth: (health: BackendHealth) => void) {
    this.#context = context;
    this.#backend = backend;
    this.#onHealth = onHealth;
  }

  begin(nowMs: number): void {
    this.#nextAddress = 0;
    this.#isLooking = true;
    this.#tryNext(nowMs);
  }

  stop(): void {
    this.#context.reactor.cancelTimer(this.#timer);
    this.#socket?.reset();
  }

  #onTimer(nowMs: number): void {
    if (this.#isLooking) this.#tryNext(nowMs);
    else this.begin(nowMs);
  }

  #tryNext(nowMs: number): void {
    const { reactor, addressSlot } = this.#context;
    this.#socket?.reset();
    this.#socket = null;
    for (;;) {
      const address = this.#backend.addresses[this.#nextAddress++];
      if (address === undefined) return this.#end(false, nowMs);
      writeSockaddr(reactor.libc.arena, addressSlot, { address, port: this.#backend.port });
      const socket = TcpSocket.connect(reactor, addressSlot, {
        onConnected: (at) => this.#end(true, at),
        onReady: () => {},
        onError: (_errno, at) => this.#tryNext(at),
      });
      if (typeof socket === "number") continue;
      this.#socket = socket;
      return reactor.setTimer(this.#timer, nowMs + limits.HEALTH_TIMEOUT_MS);
    }
  }

  #end(isUp: boolean, nowMs: number): void {
    this.#isLooking = false;
    // Closed in good order: a backend that logs resets would log one for every look.
    this.#socket?.close();
    this.#socket = null;
    this.#failures = isUp ? 0 : this.#failures + 1;
    if (isUp) this.#onHealth("up");
    else if (this.#failures >= limits.HEALTH_FAILURES_MAX) this.#onHealth("down");
    const isSteady = this.#failures === 0;
    const delayMs = isSteady ? limits.HEALTH_INTERVAL_MS : limits.HEALTH_INTERVAL_DOWN_MS;
    this.#context.reactor.setTimer(this.#timer, nowMs + delayMs);
  }
}

export class BackendWatch {
  readonly #plane: Plane;
  readonly #looks: Look[] = [];
  readonly #hosts: ReadonlySet<string>;
  readonly #resolve = new Timer((nowMs) => this.#resolveAll(nowMs));

  constructor(plane: Plane, context: DialContext, services: ServiceTable) {
    this.#plane = plane;
    const hosts = new Set<string>();
    for (const service of services.all) {
      for (const backend of service.backends) {
        if (parseIp(backend.host) === null) hosts.add(backend.host);
        // A UDP port answers nothing that could be told from silence.
        if (!backend.protocols.includes("tcp")) continue;
        this.#looks.push(new Look(context, backend, (health) => this.#note(service, backend, health)));
      }
    }
    this.#hosts = hosts;
  }

  start(nowMs: number): void {
    for (const look of this.#looks) look.begin(nowMs);
    if (this.#hosts.size > 0) this.#plane.platform.reactor.setTimer(this.#resolve, nowMs + limits.RESOLVE_INTERVAL_MS);
  }

  stop(): void {
    this.#plane.platform.reactor.cancelTimer(this.#resolve);
    for (const look of this.#looks) look.stop();
  }

  #note(service: Service, backend: Backend, health: BackendHealth): void {
    const before = backend.health;
    if (before === health) return;
    backend.health = health;
    if (before === "unknown" && health === "up") return;
    const message = health === "up" ? `A backend of ${service.id} is up again` : `A backend of ${service.id} does not accept`;
    this.#plane.log(health === "up" ? "info" : "warn", "backend-health", message, {
      service: service.id,
      backend: `${backend.host}:${backend.port}`,
      health,
    });
  }

  #resolveAll(nowMs: number): void {
    for (const host of this.#hosts) this.#plane.platform.post({ type: "resolve", host });
    this.#plane.platform.reactor.setTimer(this.#resolve, nowMs + limits.RESOLVE_INTERVAL_MS);
  }
}
