/**
 * May this agent open this service, and which connector takes it? Decided for every open by itself; no registration is
 * needed first. What the agent may not know (whether a service exists) is decided after what it may do.
 */
import { authorize, type AuthorizeOptions, formatDenyReason } from "../../core/auth/mod.ts";
import type { Registry } from "../../core/registry/mod.ts";
import type { AgentIdentity } from "../../core/wire/mod.ts";
import type { Peer } from "./peer.ts";
import type { StreamRoute } from "./stream_relay.ts";

const NO_FINGERPRINT = "0".repeat(64);

/** The route of a new stream, or the refusal that the agent is answered with. */
export function routeStream(
  agent: Peer,
  service: string,
  registry: Registry,
  peers: ReadonlyMap<number, Peer>,
  options: AuthorizeOptions,
): StreamRoute {
  if (registry.roleOf(agent.id) === "connector") return { kind: "refused", code: "denied", reason: "connectors open no streams" };
  const decision = authorize(agent.identity, "agent", service, options);
  if (!decision.allowed) return { kind: "refused", code: "denied", reason: formatDenyReason(decision.why) };
  const number = registry.serviceNumber(service);
  if (number < 0) {
    if (registry.wasKnown(service)) return { kind: "refused", code: "no-connector", reason: "its connectors have left" };
    return { kind: "refused", code: "unknown-service", reason: "no connector has registered it" };
  }
  const choice = registry.connectorForStream(number);
  if (choice.kind === "datagram-only") {
    return { kind: "refused", code: "datagram-only", reason: "its connectors take datagrams only" };
  }
  const connector = choice.kind === "connector" ? peers.get(choice.peer) : undefined;
  if (connector === undefined) return { kind: "refused", code: "no-connector", reason: "no connector serves it now" };
  return { kind: "connector", peer: connector, agent: describeAgent(agent, service, decision.name) };
}

/** What the connector is told about the agent (WIRE 7.3). */
function describeAgent(agent: Peer, service: string, name: string): AgentIdentity {
  const { identity } = agent;
  // Without a ZTNA name that allowed it (a legacy certificate, an anonymous client) the rule itself is named.
  const san = name === "" ? `agent.${service}.ztna` : name;
  if (identity === null) return { commonName: "anonymous", fingerprint: NO_FINGERPRINT, san, admission: "anonymous" };
  return { commonName: identity.commonName, fingerprint: identity.fingerprint, san, admission: identity.source };
}
