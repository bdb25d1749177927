/** What the agent tells about itself: its services with how far each is, and what moves now. */
import type { FlowReport, PlaneStatus } from "../control/mod.ts";
import type { RegistrationReport } from "../uplink/mod.ts";
import type { LocalConnection } from "./local_connection.ts";

const UNKNOWN = { id: "", name: "" };

/** Up to `max` of them. Who we are and who answers is not known here: the certificate says the one, the server the other. */
export function localFlows(locals: Iterable<LocalConnection>, nowMs: number, max: number): FlowReport[] {
  const found: FlowReport[] = [];
  for (const local of locals) {
    if (found.length >= max) break;
    found.push({
      service: local.service,
      protocol: local.isInPackets ? "tcp" : "stream",
      state: local.state,
      agent: UNKNOWN,
      connector: UNKNOWN,
      source: "",
      destination: "",
      ageMs: nowMs - local.openedMs,
      bytesToService: local.bytesToService,
      bytesFromService: local.bytesFromService,
    });
  }
  return found;
}

/** What is known of one service of the agent. */
export interface ServiceKnowledge {
  readonly id: string;
  readonly registration: RegistrationReport | null;
  /** What the last stream was answered: a result's name; "" when there was none. */
  readonly answer: string;
}

/** A service as status pages show it: what the last open was answered where there was one, else how far its registration is. */
export function serviceReport({ id, registration, answer }: ServiceKnowledge): PlaneStatus["services"][number] {
  const row = (state: string, why = "") => ({ id, state, why, agents: state === "open" ? 1 : 0, connectors: 0 });
  if (registration?.state === "denied" && registration.why === "no-answer") return row("pending", "the server does not answer");
  if (registration?.state === "denied" || registration?.state === "withdrawn") return row(registration.state, registration.why);
  if (answer === "accepted") return row("open");
  if (answer === "denied" || answer === "unknown-service") return row("denied", answer);
  if (answer !== "") return row("unserved", answer);
  return row(registration?.state === "registered" ? "registered" : "pending");
}
