/**
 * The connections to the server and which service is registered on which of them. One is always there. A server that speaks ztna-v2
 * has everything on it; towards one that speaks ztna-v1 every further service gets a connection of its own.
 *
 *   the first is up, ztna-v2 ──► everything on it, the others close
 *   the first is up, ztna-v1 ──► it has one service, each of the rest its own
 */
import { Timer } from "../../base/mod.ts";
import type { Connection } from "../../core/quic/mod.ts";
import type { UplinkReport } from "../control/mod.ts";
import type { RegistrationState } from "../uplink/mod.ts";
import { LINK_LOOK_INTERVAL_MS } from "./limits.ts";
import { type LinkContext, ServerLink } from "./server_link.ts";
import { isAvailable, type Service } from "./services.ts";

export class ServerLinks {
  readonly #context: LinkContext;
  readonly #first: ServerLink;
  /** Those that have nothing to do are kept for later. */
  readonly #others: ServerLink[] = [];
  readonly #look = new Timer(() => this.#closeIdle());

  constructor(context: Omit<LinkContext, "onProving">) {
    this.#context = { ...context, onProving: (link, nowMs) => this.#onProving(link, nowMs) };
    this.#first = new ServerLink(this.#context, true);
  }

  get isUp(): boolean {
    return this.#all.some((link) => link.isUp);
  }

  get registeredCount(): number {
    return this.#all.reduce((sum, link) => sum + link.registeredCount, 0);
  }

  /** The connection by which the server knows us for this service; null without one. */
  connectionOf(service: Service): Connection | null {
    return this.#all.find((link) => link.isUp && link.stateOf(service) === "registered")?.connection ?? null;
  }

  isServers(connection: Connection): boolean {
    return this.#all.some((link) => link.connection === connection);
  }

  stateOf(service: Service): RegistrationState | "withdrawn" {
    const states = this.#all.map((link) => link.stateOf(service));
    return states.find((state) => state === "registered") ?? states.find((state) => state !== null) ??
      (isAvailable(service) ? "idle" : "withdrawn");
  }

  /** Of those that are for something; of the first in any case, if there is none. */
  reports(nowMs: number): { readonly uplink: UplinkReport; readonly furtherUplinks: readonly UplinkReport[] } {
    const [first = this.#first, ...others] = this.#all.filter((link) => link.assigned.length > 0);
    return { uplink: first.report(nowMs), furtherUplinks: others.map((link) => link.report(nowMs)) };
  }

  start(nowMs: number): void {
    this.#first.assign(this.#available(), nowMs);
    this.#first.start(nowMs);
  }

  stop(reason: string): void {
    for (const link of this.#all) link.stop(reason);
  }

  /** Which services are there, or reachable, has changed. */
  balance(nowMs: number): void {
    const available = this.#available();
    const { version, held } = this.#first;
    if (version === "v2") {
      this.#first.assign(available, nowMs);
      for (const link of this.#others) link.assign([], nowMs);
    } else if (version === "v1") {
      const own = held ?? available.find((service) => this.#otherOf(service) === undefined) ?? null;
      this.#first.assign(available.filter((service) => service === own), nowMs);
      this.#spread(available.filter((service) => service !== own), nowMs);
    } else {
      const others = this.#others.flatMap((link) => link.assigned).filter((service) => available.includes(service));
      this.#spread(others, nowMs);
      this.#first.assign(available.filter((service) => !others.includes(service)), nowMs);
    }
    this.#closeIdle();
  }

  get #all(): readonly ServerLink[] {
    return [this.#first, ...this.#others];
  }

  #available(): Service[] {
    return this.#context.services.all.filter(isAvailable);
  }

  #otherOf(service: Service): ServerLink | undefined {
    return this.#others.find((link) => link.assigned.includes(service));
  }

  /** Each of `services` on one of the other links, and nothing else there. */
  #spread(services: readonly Service[], nowMs: number): void {
    for (const link of this.#others) {
      if (link.assigned.some((service) => !services.includes(service))) link.assign([], nowMs);
    }
    for (const service of services) {
      if (this.#otherOf(service) !== undefined) continue;
      const free = this.#others.find((link) => link.held === service) ??
        this.#others.find((link) => link.assigned.length === 0 && link.held === null);
      const link = free ?? new ServerLink(this.#context, false);
      if (free === undefined) this.#others.push(link);
      link.assign([service], nowMs);
      if (free === undefined) link.start(nowMs);
    }
  }

  #onProving(link: ServerLink, nowMs: number): void {
    if (link === this.#first) this.balance(nowMs);
    else link.assign(link.assigned, nowMs);
  }

  /** On ztna-v1 a service is given back by closing its connection, when its sessions have ended. */
  #closeIdle(): void {
    const { reactor } = this.#context.plane.platform;
    for (const link of this.#all) link.closeIfIdle();
    if (this.#all.some((link) => link.isLeaving)) reactor.setTimer(this.#look, reactor.nowMs + LINK_LOOK_INTERVAL_MS);
    else reactor.cancelTimer(this.#look);
  }
}
