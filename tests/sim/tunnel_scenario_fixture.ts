/** From a seed to a story: who is there, over which links, which connections are made, and what goes wrong when. */
import type { StreamLimits } from "./memory_stream_table_fixture.ts";
import { SimRandom } from "./sim_random_fixture.ts";
import type { SimTcpOptions } from "./sim_tcp_fixture.ts";
import { CLEAN_LINK, type LinkFaults } from "./sim_udp_fixture.ts";
import { PLAIN_SCRIPT, type ResetPlan, type ScriptPlan } from "./tunnel_script_fixture.ts";

/** `calm`: bad links, but everybody stays. `rough`: processes end and come back, links are cut, machines sleep. */
export type Weather = "calm" | "rough";

export interface ConnectionPlan {
  readonly number: number;
  /** Which agent's local client it is; the last agent may use no service. */
  readonly agent: number;
  readonly startMs: number;
  readonly backend: "accepts" | "late" | "refuses" | "silent";
  readonly client: ScriptPlan;
  readonly server: ScriptPlan;
}

export type Disruption =
  | { readonly kind: "restart"; readonly whom: Whom; readonly atMs: number; readonly awayMs: number; readonly isGraceful: boolean }
  | { readonly kind: "partition"; readonly whom: Whom; readonly atMs: number; readonly forMs: number }
  | { readonly kind: "freeze"; readonly whom: Whom; readonly atMs: number; readonly forMs: number }
  | { readonly kind: "jump"; readonly whom: Whom; readonly atMs: number; readonly byMs: number }
  | { readonly kind: "rebind"; readonly whom: Whom; readonly atMs: number };

/** `agent 1`, `connector 0`, `server 0`. */
export interface Whom {
  readonly role: "server" | "connector" | "agent";
  readonly index: number;
}

export interface Scenario {
  readonly seed: number;
  readonly weather: Weather;
  readonly isIpv6: boolean;
  /** The server answers first packets with Retry. */
  readonly retries: boolean;
  readonly cidRotationMs: number;
  /** Clients sit behind address translators. */
  readonly hasNat: boolean;
  readonly agents: number;
  readonly connectors: number;
  readonly link: LinkFaults;
  readonly tcp: SimTcpOptions;
  readonly limits: StreamLimits;
  readonly connections: readonly ConnectionPlan[];
  readonly disruptions: readonly Disruption[];
  readonly takesSegments: boolean;
  readonly interfaceMtu: number;
  readonly sendBlocks: number;
  readonly coalesces: number;
  readonly interrupted: number;
  readonly outOfDescriptors: number;
}

/** The last connection begins by then, and every disruption is over. */
export const STORY_MS = 30_000;
/** Of all connections of a world, in both directions. */
const BYTES_MAX = 500_000;

export function scenarioOf(seed: number, weather: Weather): Scenario {
  const random = new SimRandom(seed * 7919 + (weather === "calm" ? 17 : 29));
  const isBad = random.chance(0.8);
  const agents = random.between(1, 3);
  const connectors = random.one(1, 1, 2);
  const window = random.one(4_096, 20_000, 65_536, 262_144);
  const count = random.one(1, 3, 6, 10);
  const connections = thinOut(Array.from({ length: count }, (_, number) => connectionOf(random, number, agents, window)));
  return {
    seed,
    weather,
    isIpv6: random.chance(0.2),
    retries: random.chance(0.5),
    cidRotationMs: random.one(300_000, 10_000, 2_000),
    hasNat: random.chance(0.5),
    agents,
    connectors,
    link: linkOf(random, isBad),
    tcp: {
      delayMs: random.one(0.02, 0.05, 1),
      jitterMs: random.one(0, 0.05, 2),
      pipeBytes: random.one(4_096, 65_536, 262_144),
      segmentBytesMax: random.one(536, 16_384, 65_536),
    },
    limits: {
      connectionWindowBytes: window * random.one(2, 16),
      streamWindowBytes: window,
      streamsMax: weather === "rough" ? random.one(2, 100) : 100,
    },
    connections,
    disruptions: weather === "calm" ? [] : disruptionsOf(random, agents, connectors),
    takesSegments: random.chance(0.8),
    interfaceMtu: random.one(65_536, 9_000, 1_500),
    sendBlocks: random.one(0, 0, 0.02, 0.2),
    coalesces: random.one(0, 0.5, 1),
    interrupted: random.one(0, 0, 0.05),
    outOfDescriptors: random.one(0, 0, 0.2),
  };
}

/** Worlds of much data cost time: the largest amounts are cut until all together are bearable. */
function thinOut(connections: readonly ConnectionPlan[]): readonly ConnectionPlan[] {
  const total = connections.reduce((sum, { client, server }) => sum + client.sendBytes + server.sendBytes, 0);
  if (total <= BYTES_MAX) return connections;
  const cut = (script: ScriptPlan): ScriptPlan => {
    const share = Math.floor((script.sendBytes * BYTES_MAX) / total);
    return { ...script, sendBytes: Math.max(share, Math.min(script.sendBytes, 5_000)) };
  };
  return connections.map((plan) => ({ ...plan, client: cut(plan.client), server: cut(plan.server) }));
}

function linkOf(random: SimRandom, isBad: boolean): LinkFaults {
  return {
    delayMs: random.one(0.1, 1, 10, 40),
    jitterMs: random.one(0, 1, 5),
    loss: isBad ? random.one(0, 0.01, 0.03, 0.1) : 0,
    duplicate: isBad ? random.one(0, 0.02, 0.2) : 0,
    corrupt: isBad ? random.one(0, 0.01, 0.03) : 0,
    reorder: isBad ? random.one(0, 0.02, 0.2) : 0,
    reorderMs: random.one(2, 20, 60),
    payloadBytesMax: random.one(CLEAN_LINK.payloadBytesMax, 1_472, 1_360, 1_200),
    bytesPerMs: random.one(Infinity, Infinity, 2_000, 400),
    queueMs: random.one(20, 100),
  };
}

function connectionOf(random: SimRandom, number: number, agents: number, window: number): ConnectionPlan {
  const backend = random.one("accepts", "accepts", "accepts", "accepts", "accepts", "late", "refuses", "silent");
  const starts = random.one<readonly [ScriptPlan["starts"], ScriptPlan["starts"]]>(
    ["at-once", "at-once"],
    ["at-once", "after-first-byte"],
    ["after-first-byte", "at-once"],
    ["at-once", "after-end"],
    ["after-end", "at-once"],
  );
  const client = scriptOf(random, starts[0], window);
  const server = scriptOf(random, starts[1], window);
  // Who waits for a first byte needs one: an end serves as well, but somebody must break the silence.
  return { number, agent: random.between(0, agents - 1), startMs: random.between(50, STORY_MS), backend, client, server };
}

function scriptOf(random: SimRandom, starts: ScriptPlan["starts"], window: number): ScriptPlan {
  const sendBytes = random.one(0, 1, 100, 1_000, 5_000, 30_000, window, 3 * window);
  const isSlow = random.chance(0.3);
  const tiny = sendBytes <= 1_000 && random.chance(0.3);
  return {
    ...PLAIN_SCRIPT,
    starts,
    sendBytes,
    writeBytesMax: tiny ? 1 : random.one(1_000, 16_384, 65_000),
    writePauseMs: tiny ? 0 : random.one(0, 0, 2, 50),
    readBytesMax: isSlow ? random.one(2_000, 20_000) : 65_536,
    readPauseMs: isSlow ? random.one(1, 20) : 0,
    reset: random.chance(0.15) ? resetOf(random, sendBytes) : null,
  };
}

function resetOf(random: SimRandom, sendBytes: number): ResetPlan {
  return random.one<ResetPlan>(
    { when: "sent", bytes: random.between(1, Math.max(1, sendBytes)) },
    { when: "received", bytes: random.between(1, 5_000) },
    { when: "after", ms: random.one(0, 1, 5, 100, 2_000) },
  );
}

function disruptionsOf(random: SimRandom, agents: number, connectors: number): Disruption[] {
  return Array.from({ length: random.between(1, 4) }, (): Disruption => {
    const whom = random.one<Whom>(
      { role: "server", index: 0 },
      { role: "connector", index: random.between(0, connectors - 1) },
      { role: "agent", index: random.between(0, agents - 1) },
    );
    const client = whom.role === "server" ? { role: "connector" as const, index: 0 } : whom;
    const atMs = random.between(1_000, STORY_MS - 12_000);
    const forMs = random.one(50, 500, 3_000, 12_000);
    return random.one<Disruption>(
      { kind: "restart", whom, atMs, awayMs: random.one(0, 100, 5_000), isGraceful: random.chance(0.5) },
      { kind: "partition", whom: client, atMs, forMs: random.one(forMs, 45_000) },
      { kind: "freeze", whom, atMs, forMs: random.one(forMs, 40_000) },
      { kind: "jump", whom, atMs, byMs: random.one(1_000, 20_000, 60_000) },
      { kind: "rebind", whom: client, atMs },
    );
  });
}
