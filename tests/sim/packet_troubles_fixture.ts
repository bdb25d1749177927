/**
 * What goes wrong in a world of packets while its story runs, and whom it may cost packets: addresses that change, clocks that jump,
 * connectors that end, a reload that revokes a certificate or limits datagrams, and an agent that floods.
 */
import type { DenyEntry } from "../../src/core/auth/mod.ts";
import type { ServerPlan } from "../../src/roles/control/mod.ts";
import { decodeCertificate } from "./memory_handshake_fixture.ts";
import type { PacketPeer } from "./packet_peer_fixture.ts";
import type { AgentShape, PacketTrouble, PacketWhom } from "./packet_scenario_fixture.ts";
import type { SimPlane } from "./sim_plane_fixture.ts";
import type { SimHost } from "./sim_udp_fixture.ts";
import type { SimWorld } from "./sim_world_fixture.ts";
import { simMaterial } from "./tunnel_plans_fixture.ts";

/** Within this a revoked peer is closed, and a connector that was told to stop has stopped. */
const CLOSE_MS = 5_000;
/** From a reload to the flood that it limits. */
const SETTLE_MS = 500;
const FLOOD_PACKETS = 400;
const FLOOD_LIMIT = { perSecond: 100, burst: 100 };

export interface PacketAgent {
  readonly number: number;
  readonly shape: AgentShape;
  readonly name: string;
  readonly plane: SimPlane;
  peer: PacketPeer | null;
  readonly sent: Set<string>;
  readonly answered: Set<string>;
  /** Something happened that may have cost it packets. */
  isTouched: boolean;
  deniedFromMs: number;
  deniedUntilMs: number;
}

/** A connector's place; whoever sits there may be replaced. */
export interface PacketSeat {
  readonly host: SimHost;
  readonly start: () => SimPlane;
  plane: SimPlane;
  /** Null for the product's own. */
  peer: PacketPeer | null;
}

export interface PacketCast {
  readonly server: SimPlane;
  readonly serverPlan: ServerPlan;
  readonly agents: readonly PacketAgent[];
  readonly seats: readonly PacketSeat[];
}

export class PacketTroubles {
  readonly #world: SimWorld;
  readonly #cast: PacketCast;
  readonly #floodPacket: (agent: PacketAgent) => Uint8Array;
  #denied: readonly DenyEntry[] = [];
  #isLimited = false;
  #reloads = 0;

  constructor(world: SimWorld, cast: PacketCast, floodPacket: (agent: PacketAgent) => Uint8Array) {
    this.#world = world;
    this.#cast = cast;
    this.#floodPacket = floodPacket;
  }

  begin(trouble: PacketTrouble): void {
    switch (trouble.kind) {
      case "rebind":
        for (const { host } of this.#planesOf(trouble.whom)) host.nat?.rebind();
        return this.#touch(trouble.whom);
      case "jump":
        for (const plane of this.#planesOf(trouble.whom)) plane.jump(trouble.byMs);
        return this.#touch(trouble.whom);
      case "lose":
        return this.#lose(trouble);
      case "deny":
        return this.#deny(trouble);
      case "flood":
        return this.#flood(trouble);
    }
  }

  #lose({ index, awayMs, isGraceful }: PacketTrouble & { readonly kind: "lose" }): void {
    this.#touch({ role: "connector", index });
    const seat = this.#cast.seats[index];
    if (seat === undefined) return;
    const { plane } = seat;
    if (isGraceful) plane.stop();
    else plane.kill();
    if (awayMs === null) return;
    this.#world.events.after(awayMs + CLOSE_MS, () => {
      if (seat.plane !== plane) return;
      plane.kill();
      seat.plane = seat.start();
    });
  }

  #deny({ index, forMs }: PacketTrouble & { readonly kind: "deny" }): void {
    const { nowMs, events } = this.#world;
    const agent = this.#agent(index);
    const entry: DenyEntry = { serial: serialOf(agent), issuer: null };
    // It may be denied already: then it stays so until the last of its entries is taken back.
    if (agent.deniedUntilMs < nowMs) agent.deniedFromMs = nowMs + CLOSE_MS;
    agent.deniedUntilMs = Math.max(agent.deniedUntilMs, nowMs + forMs);
    this.#reload([...this.#denied, entry]);
    events.after(forMs, () => this.#reload(this.#denied.filter((one) => one !== entry)));
  }

  /** Packets for a service that nobody has: they are dropped, and must cost the others nothing. */
  #flood({ index }: PacketTrouble & { readonly kind: "flood" }): void {
    const { events } = this.#world;
    const agent = this.#agent(index);
    const packet = this.#floodPacket(agent);
    this.#isLimited = true;
    this.#reload(this.#denied);
    for (let i = 0; i < FLOOD_PACKETS; i++) events.after(SETTLE_MS + i / 10, () => agent.peer?.send(packet, "nobody"));
  }

  #reload(denied: readonly DenyEntry[]): void {
    this.#denied = denied;
    const { server, serverPlan: plan } = this.#cast;
    const datagrams = this.#isLimited ? { ...plan.limits.datagrams, connection: FLOOD_LIMIT } : plan.limits.datagrams;
    const revocation = { ...plan.revocation, denied };
    server.command({ type: "reload", id: ++this.#reloads, plan: { ...plan, limits: { ...plan.limits, datagrams }, revocation } });
  }

  #agent(index: number): PacketAgent {
    const agent = this.#cast.agents[index];
    if (agent === undefined) throw new Error(`there is no agent ${index}`);
    agent.isTouched = true;
    return agent;
  }

  /** Who is behind it may lose packets meanwhile: one agent, or everybody. */
  #touch(whom: PacketWhom): void {
    for (const agent of this.#cast.agents) if (whom.role !== "agent" || agent.number === whom.index) agent.isTouched = true;
  }

  #planesOf({ role, index }: PacketWhom): SimPlane[] {
    const { server, agents, seats } = this.#cast;
    if (role === "server") return [server];
    const found = role === "agent" ? agents[index]?.plane : seats[index]?.plane;
    return found === undefined ? [] : [found];
  }
}

function serialOf({ name }: PacketAgent): string {
  return decodeCertificate(simMaterial(name, []).certificatePem)?.summary.serial ?? "";
}
