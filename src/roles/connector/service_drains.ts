/**
 * Services that were taken out of the configuration while something of them ran: that may finish, within
 * {@linkcode SERVICE_DRAIN_MS}, and nothing new begins.
 */
import { Timer } from "../../base/mod.ts";
import type { Plane } from "../control/mod.ts";
import type { BackendStreams } from "./backend_streams.ts";
import type { DatagramEnd } from "./datagram_end.ts";
import { LINK_LOOK_INTERVAL_MS, SERVICE_DRAIN_MS } from "./limits.ts";
import type { Service, ServiceTable } from "./services.ts";

export interface ServiceDrainsOptions {
  readonly plane: Plane;
  readonly services: ServiceTable;
  readonly streams: BackendStreams;
  readonly datagrams: DatagramEnd;
}

export class ServiceDrains {
  readonly #options: ServiceDrainsOptions;
  readonly #deadlines = new Map<Service, number>();
  readonly #timer = new Timer((nowMs) => this.#look(nowMs));

  constructor(options: ServiceDrainsOptions) {
    this.#options = options;
  }

  /** These services are offered no more. */
  begin(removed: readonly Service[], nowMs: number): void {
    for (const service of removed) this.#deadlines.set(service, nowMs + SERVICE_DRAIN_MS);
    this.#look(nowMs);
  }

  #look(nowMs: number): void {
    const { plane, services, streams, datagrams } = this.#options;
    for (const [service, deadlineMs] of this.#deadlines) {
      const running = streams.countOf(service) + datagrams.sessionsOf(service);
      if (running > 0 && nowMs < deadlineMs) continue;
      this.#deadlines.delete(service);
      streams.endService(service);
      datagrams.endService(service, nowMs);
      services.forget(service);
      plane.log("info", "service-ended", "Nothing runs any more of a service that was removed", {
        service: service.id,
        aborted: running,
      });
    }
    if (this.#deadlines.size > 0) plane.platform.reactor.setTimer(this.#timer, nowMs + LINK_LOOK_INTERVAL_MS);
  }
}
