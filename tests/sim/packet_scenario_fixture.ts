/** From a seed to a story of packets: who is there, over which links, what agents say about direct paths, and what goes wrong when. */
import { SimRandom } from "./sim_random_fixture.ts";
import { CLEAN_LINK, type LinkFaults } from "./sim_udp_fixture.ts";

/** Packets are sent and things go wrong until then. */
export const STORY_MS = 20_000;

export type PeerVersion = "ztna-v1" | "ztna-v2";
/** `real`: the product's connector before UDP backends; the others answer packets by themselves. */
export type ConnectorKind = "real" | PeerVersion;

export interface AgentShape {
  readonly version: PeerVersion;
  readonly services: readonly string[];
  readonly ports: readonly number[];
  /** How often it asks for a direct path. */
  readonly offers: number;
}

/** `agent 1`, `connector 0`, `server 0`. */
export interface PacketWhom {
  readonly role: "server" | "connector" | "agent";
  readonly index: number;
}

export type PacketTrouble =
  /** Its address translator forgets: the next packet comes from another port. */
  | { readonly kind: "rebind"; readonly whom: PacketWhom; readonly atMs: number }
  | { readonly kind: "jump"; readonly whom: PacketWhom; readonly atMs: number; readonly byMs: number }
  /** A connector ends; another one comes in its place, or nobody (null). */
  | {
    readonly kind: "lose";
    readonly index: number;
    readonly atMs: number;
    readonly awayMs: number | null;
    readonly isGraceful: boolean;
  }
  /** A reload revokes an agent's certificate, a later one takes that back. */
  | { readonly kind: "deny"; readonly index: number; readonly atMs: number; readonly forMs: number }
  /** A reload limits datagrams, and one agent sends many more than that. */
  | { readonly kind: "flood"; readonly index: number; readonly atMs: number };

export interface PacketScenario {
  readonly seed: number;
  readonly agents: readonly AgentShape[];
  readonly connectors: readonly ConnectorKind[];
  readonly link: LinkFaults;
  readonly retries: boolean;
  readonly cidRotationMs: number;
  readonly packets: number;
  /** An agent that goes and comes back. */
  readonly isRestless: boolean;
  readonly troubles: readonly PacketTrouble[];
}

export function packetScenarioOf(seed: number): PacketScenario {
  const random = new SimRandom(seed * 104_729 + 5);
  const isBad = random.chance(0.6);
  const connectors = random.one<readonly ConnectorKind[]>(["ztna-v1"], ["ztna-v2"], ["ztna-v1", "ztna-v2"], ["real"], [
    "real",
    "ztna-v1",
  ]);
  const agents = Array.from({ length: random.between(2, 4) }, () => agentOf(random));
  return {
    seed,
    agents,
    connectors,
    link: {
      ...CLEAN_LINK,
      delayMs: random.one(0.1, 5, 30),
      jitterMs: random.one(0, 3),
      loss: isBad ? random.one(0, 0.02, 0.1) : 0,
      duplicate: isBad ? random.one(0, 0.1) : 0,
      corrupt: isBad ? random.one(0, 0.03) : 0,
      reorder: isBad ? random.one(0, 0.2) : 0,
      reorderMs: 20,
    },
    retries: random.chance(0.5),
    cidRotationMs: random.one(300_000, 5_000),
    packets: random.one(20, 60),
    isRestless: random.chance(0.3),
    troubles: random.chance(0.7) ? troublesOf(random, agents.length, connectors.length) : [],
  };
}

function agentOf(random: SimRandom): AgentShape {
  return {
    version: random.one<PeerVersion>("ztna-v1", "ztna-v2"),
    services: random.one<readonly string[]>(["a"], ["b"], ["a", "b"]),
    // Few ports, so that agents collide.
    ports: Array.from({ length: random.between(1, 3) }, () => random.between(1_000, 1_003)),
    offers: random.one(0, 1, 3),
  };
}

function troublesOf(random: SimRandom, agents: number, connectors: number): PacketTrouble[] {
  return Array.from({ length: random.between(1, 3) }, (): PacketTrouble => {
    const index = random.between(0, agents - 1);
    const client = random.one<PacketWhom>({ role: "agent", index }, {
      role: "connector",
      index: random.between(0, connectors - 1),
    });
    const anybody = random.one<PacketWhom>(client, { role: "server", index: 0 });
    const atMs = random.between(1_000, STORY_MS - 5_000);
    const lost = random.between(0, connectors - 1);
    const awayMs = random.one(0, 500, 5_000);
    return random.one<PacketTrouble>(
      { kind: "rebind", whom: client, atMs },
      { kind: "jump", whom: anybody, atMs, byMs: random.one(1_000, 20_000, 60_000) },
      {
        kind: "lose",
        index: lost,
        atMs,
        // Somebody must be left who serves.
        awayMs: lost > 0 && random.chance(0.5) ? null : awayMs,
        isGraceful: random.chance(0.5),
      },
      { kind: "deny", index, atMs, forMs: random.between(8_000, 15_000) },
      { kind: "flood", index, atMs },
    );
  });
}
