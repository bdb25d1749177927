/**
 * Dials the best of a client's servers: which one says {@linkcode ServerHealth}, at which of its addresses {@linkcode DialRace}. One
 * dial runs at a time.
 */
import { explainPins } from "../../base/mod.ts";
import type { Connection, Ending } from "../../core/quic/mod.ts";
import { formatEndpoint } from "../../io/mod.ts";
import type { Plane, ServerReport, UplinkPlan } from "../control/mod.ts";
import { DialRace, raceOrder } from "./dial_race.ts";
import { DIAL_TIMEOUT_MS, FAILOVER_DIAL_TIMEOUT_MS, FAILOVER_SPREAD_MS } from "./limits.ts";
import type { UplinkHub } from "./uplink_hub.ts";
import { explainTrouble, noAddress, noAnswer, notPinned, type UplinkTrouble } from "./uplink_trouble.ts";

export interface ServerDialParts {
  readonly plane: Plane;
  readonly plan: UplinkPlan;
  readonly hub: UplinkHub;
  /** The handshake with the wanted server is done. The connection's events go to the race until it is handed over. */
  readonly onWon: (connection: Connection, nowMs: number) => void;
  readonly onLost: (trouble: UplinkTrouble, nowMs: number) => void;
}

export class ServerDial {
  readonly #parts: ServerDialParts;
  /** The server that was dialled last, and where. */
  #server = 0;
  #target = "";
  #dials = 0;
  #race: DialRace | null = null;

  constructor(parts: ServerDialParts) {
    this.#parts = parts;
  }

  /** Address and port that were dialled last, or that won. */
  get target(): string {
    return this.#target;
  }

  /** Why a connection to this server that had been established is gone. */
  explain(connection: Connection, ending: Ending): UplinkTrouble {
    return explainTrouble(this.#serverNow, connection, ending, this.#target);
  }

  /** Returns how long the server may take to answer. */
  start(nowMs: number): number {
    const { plane, plan, hub } = this.#parts;
    const { health } = hub;
    const server = health.best(nowMs, (at) => hub.addressesOf(plan.servers[at]?.host ?? "").length > 0);
    this.#server = Math.max(0, server);
    const { host, port } = this.#serverNow;
    const addresses = raceOrder(hub.addressesOf(host), this.#dials++);
    const target = (address: string) => formatEndpoint({ address, port });
    const isLast = plan.servers.every((_, at) => at === server || !health.isHealthy(at, nowMs));
    const timeoutMs = isLast ? DIAL_TIMEOUT_MS : FAILOVER_DIAL_TIMEOUT_MS;
    this.#race = new DialRace({
      timers: plane.platform.reactor,
      addresses,
      connect: (address, owner) => {
        this.#target = target(address);
        plane.log("debug", "uplink-connecting", "Dialling the server", { address: this.#target });
        return hub.connect({ address, port }, this.#serverNow.expectedName, owner);
      },
      judge: (connection, address) => {
        const why = explainPins(plan.pins ?? [], connection.engine.peerCertificate());
        return why === null ? null : notPinned(why, target(address));
      },
      explain: (connection, ending, address) => explainTrouble(this.#serverNow, connection, ending, target(address)),
      silent: (address) => address === "" ? noAddress(host) : noAnswer(target(address), timeoutMs),
      onWon: (connection, address, wonMs) => {
        this.#race = null;
        this.#target = target(address);
        this.#parts.onWon(connection, wonMs);
      },
      onLost: (trouble, lostMs) => {
        this.#race = null;
        this.#parts.onLost(trouble, lostMs);
      },
    });
    this.#race.start(nowMs);
    return timeoutMs;
  }

  /** Gives up a dial that runs. The answer is what it has come to. */
  cancel(why: string): UplinkTrouble | null {
    const trouble = this.#race?.cancel(why) ?? null;
    this.#race = null;
    return trouble;
  }

  /** The server answered: our certificate was accepted. */
  worked(): void {
    this.#parts.hub.health.worked(this.#server);
  }

  failed(why: string, isHopeless: boolean, nowMs: number): void {
    this.#parts.hub.health.failed(this.#server, why, isHopeless, nowMs);
  }

  /** Within what time the next dial comes to a server that has not failed; null when each of them has. */
  spreadMs(nowMs: number): number | null {
    const { health } = this.#parts.hub;
    return health.isHealthy(health.best(nowMs), nowMs) ? FAILOVER_SPREAD_MS : null;
  }

  /** Asks for the addresses of all servers anew. */
  resolve(): void {
    const { plane, plan } = this.#parts;
    for (const host of new Set(plan.servers.map((server) => server.host))) plane.platform.post({ type: "resolve", host });
  }

  report(isCurrent: boolean, nowMs: number): ServerReport[] {
    const { plan, hub } = this.#parts;
    const names = plan.servers.map(({ host, port }) => formatEndpoint({ address: host, port }));
    return hub.health.report(names, isCurrent ? this.#server : -1, nowMs);
  }

  get #serverNow(): UplinkPlan["servers"][number] {
    return this.#parts.plan.servers[this.#server] ?? { host: "", port: 0, addresses: [], expectedName: null };
  }
}
