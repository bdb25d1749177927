/**
 * Looks at every backend, and keeps the addresses of names fresh. A backend that is down is not dialled for agents: another backend of
 * the service takes over, and a service of which all are down is withdrawn from the server until one is up again.
 */
import { parseIp, Timer } from "../../base/mod.ts";
import type { Plane } from "../control/mod.ts";
import type { DialContext } from "./backend_dial.ts";
import { BackendLook, LOOK_CHUNK_BYTES, type LookContext } from "./backend_look.ts";
import { RESOLVE_FAILED_INTERVAL_MS, RESOLVE_INTERVAL_MS } from "./limits.ts";
import { type Backend, type BackendHealth, isAvailable, type Service, type ServiceTable } from "./services.ts";

export interface BackendWatchOptions {
  readonly plane: Plane;
  readonly dial: DialContext;
  readonly services: ServiceTable;
  /** A service can be reached again, or no more. */
  readonly onAvailability: (nowMs: number) => void;
}

export class BackendWatch {
  readonly #options: BackendWatchOptions;
  readonly #context: LookContext;
  readonly #looks = new Map<Backend, BackendLook>();
  #hosts: ReadonlySet<string> = new Set();
  /** When a name was looked up because its backend failed, since all were. */
  readonly #askedMs = new Map<string, number>();
  readonly #resolve = new Timer((nowMs) => this.#resolveAll(nowMs));

  constructor(options: BackendWatchOptions) {
    this.#options = options;
    this.#context = { ...options.dial, chunkAt: options.plane.platform.layout.reserve(LOOK_CHUNK_BYTES) };
  }

  /** Looks at the backends that the table has now, and at no others. */
  update(nowMs: number): void {
    const { services, plane } = this.#options;
    const { reactor } = plane.platform;
    const backends = new Map(services.all.flatMap((service) => service.backends.map((backend) => [backend, service] as const)));
    for (const [backend, look] of this.#looks) {
      if (backends.has(backend)) continue;
      look.stop();
      this.#looks.delete(backend);
    }
    for (const [backend, service] of backends) {
      // A UDP port answers nothing that could be told from silence.
      if (this.#looks.has(backend) || !backend.protocols.includes("tcp") || backend.check.kind === "off") continue;
      const look = new BackendLook(this.#context, backend, (health) => this.#note(service, backend, health), () => {
        this.#resolveSoon(backend.host);
      });
      this.#looks.set(backend, look);
      look.begin(nowMs);
    }
    this.#hosts = new Set([...backends.keys()].map(({ host }) => host).filter((host) => parseIp(host) === null));
    if (this.#hosts.size === 0) reactor.cancelTimer(this.#resolve);
    else reactor.setTimer(this.#resolve, nowMs + RESOLVE_INTERVAL_MS);
  }

  stop(): void {
    this.#options.plane.platform.reactor.cancelTimer(this.#resolve);
    for (const look of this.#looks.values()) look.stop();
  }

  #note(service: Service, backend: Backend, health: BackendHealth): void {
    const { plane, onAvailability } = this.#options;
    const before = backend.health;
    if (before === health) return;
    const wasAvailable = isAvailable(service);
    backend.health = health;
    if (before !== "unknown" || health === "down") {
      const message = health === "up" ? `A backend of ${service.id} is up again` : `A backend of ${service.id} does not accept`;
      plane.log(health === "up" ? "info" : "warn", "backend-health", message, {
        service: service.id,
        backend: `${backend.host}:${backend.port}`,
        health,
      });
    }
    if (isAvailable(service) !== wasAvailable) onAvailability(plane.platform.reactor.nowMs);
  }

  /** It may have moved. */
  #resolveSoon(host: string): void {
    const { platform } = this.#options.plane;
    const { nowMs } = platform.reactor;
    if (!this.#hosts.has(host) || nowMs < (this.#askedMs.get(host) ?? -Infinity) + RESOLVE_FAILED_INTERVAL_MS) return;
    this.#askedMs.set(host, nowMs);
    platform.post({ type: "resolve", host });
  }

  #resolveAll(nowMs: number): void {
    const { platform } = this.#options.plane;
    this.#askedMs.clear();
    for (const host of this.#hosts) platform.post({ type: "resolve", host });
    platform.reactor.setTimer(this.#resolve, nowMs + RESOLVE_INTERVAL_MS);
  }
}
