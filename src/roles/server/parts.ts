/**
 * Builds the parts of the server's data plane and tells each of them of the others that it needs. What happens to a packet is in
 * `datapath.ts`; here nothing happens.
 */
import type { EndpointHandler } from "../../core/quic/mod.ts";
import type { LimitName } from "../../core/ratelimit/mod.ts";
import { FlowTable, Registry } from "../../core/registry/mod.ts";
import { Admission, HandshakeWatch, PeerWatch, type Plane, SampledLog, type ServerPlan, type WorkerGroup } from "../control/mod.ts";
import { Identification } from "./identification.ts";
import type { ServerMetric } from "./metrics.ts";
import type { Peer } from "./peer.ts";
import { Proofs } from "./proofs.ts";
import { Registrar } from "./registrar.ts";
import { Rejections } from "./rejections.ts";
import { ReplacedConnectors } from "./replaced_connectors.ts";
import { Rights } from "./rights.ts";
import { flowLimits, registryLimits, ServerRules, signalLimits } from "./rules.ts";
import { SignalRelay } from "./signal_relay.ts";
import { StreamService } from "./stream_service.ts";
import { TooLarge } from "./too_large.ts";
import { createDepartures, createEndpoint } from "./transport.ts";
import { type OwnEndpoint, RemoteConnections } from "./workers/mod.ts";

/** What the data plane does for its parts. */
export interface PartsHost {
  readonly peers: ReadonlyMap<number, Peer>;
  readonly count: (metric: ServerMetric, amount?: number) => void;
  /** A peer that had to prove a token has done so. */
  readonly admit: (peer: Peer, nowMs: number) => void;
  readonly endpoint: OwnEndpoint;
  /** A peer asks for more than it may: told once for each limit. */
  readonly onOverLimit: (peer: Peer, limit: LimitName) => void;
}

export type ServerParts = ReturnType<typeof createParts>;

/** Throws a PosternError when the material of the plan does not fit together. */
export function createParts(
  plane: Plane,
  plan: ServerPlan,
  handler: EndpointHandler,
  host: PartsHost,
  group: WorkerGroup | null,
) {
  const { peers, count } = host;
  const { allowLegacyServiceIds } = plan;
  const log = new SampledLog(plane, group?.workers);
  const rules = new ServerRules(plane, plan);
  const registry = new Registry({
    allowLegacyServiceIds,
    allowConnectorTakeover: plan.allowConnectorTakeover,
    limits: registryLimits(plan),
  });
  const flows = new FlowTable(registry, random32Of(plane), flowLimits(plan));
  const admission = createAdmission(plane, plan, log);
  const handshakes = new HandshakeWatch({ plane, log, count });
  const shared = { plane, registry, peers, log, allowLegacyServiceIds, count, onOverLimit: host.onOverLimit };
  const proofs = new Proofs({ ...shared, issuers: () => rules.tokenIssuers, onAdmitted: host.admit });
  const replaced = new ReplacedConnectors({ plane, registry, peers, count });
  const remote = group === null ? null : new RemoteConnections(plane, group, handler, admission, host.endpoint);
  const endpoint = createEndpoint(plane, plan, handler, rules, admission, remote?.steering);
  const signals = new SignalRelay({ ...shared, limits: signalLimits(plan), allowLoopback: rules.allowLoopback });
  return {
    log,
    rules,
    registry,
    flows,
    admission,
    proofs,
    signals,
    handshakes,
    identification: new Identification({
      plane,
      admission,
      log,
      handshakes,
      requiresCertificate: () => rules.requiresCertificate,
      takesTokens: () => rules.tokenIssuers.length > 0,
      count,
    }),
    watch: createWatch(plane, plan, host),
    rights: new Rights({ plane, rules, registry, peers, count }),
    registrar: new Registrar(plane, {
      registry,
      authorization: () => rules.authorization,
      serviceIds: { legacy: allowLegacyServiceIds },
      log,
      count,
      onReplaced: (peer, service, nowMs) => replaced.replaced(peer, service, nowMs),
    }),
    rejections: new Rejections(plane, registry, count),
    tooLarge: new TooLarge(plane, flows, registry),
    streams: new StreamService({
      ...shared,
      signals,
      proofs,
      authorization: () => rules.authorization,
      onOver: (stream) => stream.connector !== null && replaced.closeIfIdle(stream.connector.id),
    }),
    remote,
    endpoint,
    departures: createDepartures(plane, endpoint, count),
  };
}

function createWatch(plane: Plane, plan: ServerPlan, { peers, count }: PartsHost): PeerWatch {
  const { denied } = plan.revocation;
  return new PeerWatch({ plane, peers, denied, onClosed: (why) => count(why === "expired" ? "closedExpired" : "closedRevoked") });
}

function createAdmission(plane: Plane, plan: ServerPlan, log: SampledLog): Admission {
  return new Admission(plane, plan.limits, {
    onRefused: (limit, from) => log.warn("limit-exceeded", `A client was not let in: ${limit}`, { limit, from }),
    onTokenRefused: (why, from) => log.warn("retry-token-refused", `Invalid retry token from ${from}: ${why}`, { from, why }),
  });
}

function random32Of(plane: Plane): () => number {
  const random = new Uint32Array(1);
  return () => {
    plane.platform.entropy(new Uint8Array(random.buffer));
    return random[0] ?? 0;
  };
}
