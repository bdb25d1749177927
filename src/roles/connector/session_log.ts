/** What is said about sessions of agents that were refused, failed or ended. Warnings are few in a second: agents cause them. */
import type { CloseWhy, NetStackLimits, SynRefusedWhy } from "../../core/netstack/mod.ts";
import { endText, type IpEnds } from "../../core/wire/mod.ts";
import { errnoText, formatEndpoint } from "../../io/mod.ts";
import type { Plane } from "../control/mod.ts";
import type { DialFailure } from "./backend_dial.ts";
import { BACKEND_CONNECT_TIMEOUT_MS, WARNINGS_PER_SECOND } from "./limits.ts";
import type { Service } from "./services.ts";
import type { BackendSession } from "./tcp_session.ts";

const SECOND_MS = 1_000;

export class SessionLog {
  readonly #plane: Plane;
  #windowMs = -Infinity;
  #inWindow = 0;

  constructor(plane: Plane) {
    this.#plane = plane;
  }

  refused(service: Service, message: string): void {
    if (this.#mayWarn()) this.#plane.log("warn", "session-refused", message, { service: service.id });
  }

  synRefused(service: Service, packet: IpEnds, why: SynRefusedWhy, limits: NetStackLimits): void {
    const source = endText(packet, "source");
    const messages: Readonly<Record<SynRefusedWhy, string>> = {
      rate: `TCP SYN rate limit exceeded for ${source} (${limits.synPerSourcePerSecondMax}/s), sending RST`,
      sessions: `TCP session limit (${limits.sessionsMax}) reached, sending RST to ${source}`,
      agent: `TCP session limit (${limits.sessionsPerAgentMax}) of ${source} reached, sending RST`,
      accounts: `Too many sources of TCP sessions, sending RST to ${source}`,
    };
    this.refused(service, messages[why]);
  }

  dialFailed({ service, session, target }: BackendSession, failure: DialFailure): void {
    if (!this.#mayWarn()) return;
    const dialled = formatEndpoint({ address: endText(session.ends, "source"), port: session.localPort });
    const message = failure === null
      ? `TCP connect timeout for ${dialled} (${BACKEND_CONNECT_TIMEOUT_MS / SECOND_MS}s elapsed), sending RST`
      : `TCP connect failed for ${dialled}: ${errnoText(failure)}, sending RST`;
    const backend = target === undefined ? "" : formatEndpoint({ address: target.address, port: target.port });
    this.#plane.log("warn", "backend-failed", message, { service: service.id, backend });
  }

  closed({ service, session }: BackendSession, why: CloseWhy): void {
    if (why === "unfinished" && this.#mayWarn()) {
      const message = `A backend of ${service.id} stopped in the middle of an answer: the session of the agent was reset`;
      this.#plane.log("warn", "backend-failed", message, { service: service.id, session: session.id });
    }
    this.#plane.log("debug", "session-closed", "A TCP session of an agent ended", {
      service: service.id,
      session: session.id,
      why,
    });
  }

  #mayWarn(): boolean {
    const { nowMs } = this.#plane.platform.reactor;
    if (nowMs - this.#windowMs >= SECOND_MS) {
      this.#windowMs = nowMs;
      this.#inWindow = 0;
    }
    return ++this.#inWindow <= WARNINGS_PER_SECOND;
  }
}
