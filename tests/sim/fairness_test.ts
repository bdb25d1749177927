/**
 * Who sends much does not hold up who sends little to the same connector: worlds whose server cannot pass on all that it is sent, so
 * that datagrams wait there. Times are those of the world, so they are the same on every machine.
 */
import { assert, assertEquals } from "@std/assert";
import { RATE_LIMITS } from "../../src/core/ratelimit/mod.ts";
import { buildPacket } from "../../src/core/registry/sample_packets_fixture.ts";
import { memoryKit } from "./memory_kit_fixture.ts";
import { type PacketPeer, packetPeerProgram } from "./packet_peer_fixture.ts";
import { roleProgram, type SimPlane } from "./sim_plane_fixture.ts";
import { CLEAN_LINK, type SimHost } from "./sim_udp_fixture.ts";
import { SimWorld } from "./sim_world_fixture.ts";
import { SERVER_NAME, serverPlan, simMaterial } from "./tunnel_plans_fixture.ts";

const SERVICE = "web";
const SERVER_ADDRESS = "10.0.0.1";
const HEADER_BYTES = 28;
/** The way to the connector: what it takes, and how long that lasts. What is too much for it is lost there after a few milliseconds. */
const BYTES_PER_MS = 2_000;
const WAY_MS = 40;
const BUFFER_MS = 5;
const SECOND_MS = 1_000;
const READY_MS = 30_000;

interface Arrival {
  readonly number: number;
  readonly atMs: number;
  readonly tookMs: number;
}

class FairnessWorld {
  readonly world: SimWorld;
  readonly server: SimPlane;
  readonly #arrivals = new Map<number, Arrival[]>();
  readonly #agents: PacketPeer[] = [];
  readonly #sentMs: number[] = [];
  readonly #last = new Map<number, number>();

  constructor(seed: number, agents: number) {
    this.world = new SimWorld({ seed, kit: memoryKit() });
    const serverHost = this.world.host("server", [SERVER_ADDRESS]);
    const none = { connection: null, source: null, all: null };
    const plan = { ...serverPlan(simMaterial("server", [SERVER_NAME])), limits: { ...RATE_LIMITS, datagrams: none, bytes: none } };
    this.server = this.world.start("server", serverHost, roleProgram(plan));
    const connector = this.#start("connector", 0);
    for (let number = 1; number <= agents; number++) this.#agents.push(this.#start("agent", number).peer);
    const peers = [connector.peer, ...this.#agents];
    assert(this.world.run(READY_MS, () => peers.every((peer) => peer.isReady)), "not everybody is registered");
    this.world.network.link(serverHost, connector.host).faults = {
      ...CLEAN_LINK,
      delayMs: WAY_MS,
      bytesPerMs: BYTES_PER_MS,
      queueMs: BUFFER_MS,
    };
  }

  /** For so long the agent sends so many datagrams with so many bytes of payload each millisecond; fractions are every so many. */
  plan(agent: number, perMs: number, payloadBytes: number, fromMs: number, forMs: number): void {
    const { events } = this.world;
    const most = Math.max(1, perMs), everyMs = Math.max(1, 1 / perMs);
    for (let at = fromMs; at < fromMs + forMs; at += everyMs) {
      events.after(at, () => {
        for (let i = 0; i < most; i++) this.#send(agent, payloadBytes);
      });
    }
  }

  arrivals(agent: number): readonly Arrival[] {
    return this.#arrivals.get(agent) ?? [];
  }

  /** The number of its last datagram. */
  lastSent(agent: number): number {
    return this.#last.get(agent) ?? -1;
  }

  /** Of a hundred that arrive, ninety-nine take no longer. */
  p99Ms(agent: number): number {
    const took = this.arrivals(agent).map(({ tookMs }) => tookMs).sort((a, b) => a - b);
    return took[Math.ceil(took.length * 0.99) - 1] ?? Infinity;
  }

  #start(role: "agent" | "connector", number: number): { readonly peer: PacketPeer; readonly host: SimHost } {
    const name = `${role} ${number}`;
    const made: PacketPeer[] = [];
    const program = packetPeerProgram({
      role,
      services: [SERVICE],
      version: "ztna-v2",
      tls: simMaterial(name, [`${role}.${SERVICE}.ztna`]),
      serverAddress: SERVER_ADDRESS,
      onPacket: (_peer, packet) => this.#onPacket(packet),
    }, (peer) => made.push(peer));
    const host = this.world.host(name, [`10.1.0.${number + 1}`]);
    const plane = this.world.start(name, host, program);
    const peer = made[0] as PacketPeer;
    peer.wake = () => plane.poke();
    return { peer, host };
  }

  #send(agent: number, payloadBytes: number): void {
    const number = this.#sentMs.push(this.world.nowMs) - 1;
    this.#last.set(agent, number);
    const payload = new Uint8Array(payloadBytes);
    const view = new DataView(payload.buffer);
    view.setUint32(0, agent);
    view.setUint32(4, number);
    const sample = {
      protocol: "udp",
      source: 10 + agent,
      destination: 1,
      sourcePort: 1_000,
      destinationPort: 53,
      payload,
    } as const;
    this.#agents[agent - 1]?.send(buildPacket(sample), SERVICE);
  }

  #onPacket(packet: Uint8Array<ArrayBuffer>): void {
    const view = new DataView(packet.buffer, HEADER_BYTES);
    const agent = view.getUint32(0), number = view.getUint32(4);
    const arrivals = this.#arrivals.get(agent) ?? [];
    this.#arrivals.set(agent, arrivals);
    arrivals.push({ number, atMs: this.world.nowMs, tookMs: this.world.nowMs - (this.#sentMs[number] as number) });
  }
}

/** Runs until all that waits has left. */
function finish({ world, server }: FairnessWorld, forMs: number): void {
  world.run(world.nowMs + forMs);
  assert(world.run(world.nowMs + 60 * SECOND_MS, () => server.metric("waitingDatagrams") === 0), "something waits for ever");
  world.run(world.nowMs + SECOND_MS);
}

Deno.test("who floods a connector moves nobody's delay by more than its double, and loses the oldest of its own packets", () => {
  const quiet = new FairnessWorld(1, 1);
  quiet.plan(1, 0.1, 100, 0, 2 * SECOND_MS);
  finish(quiet, 2 * SECOND_MS);
  assertEquals(quiet.arrivals(1).length, 200);

  const busy = new FairnessWorld(1, 3);
  const { server, world } = busy;
  const fromMs = world.nowMs + SECOND_MS, untilMs = fromMs + 2 * SECOND_MS;
  busy.plan(1, 0.1, 100, SECOND_MS, 2 * SECOND_MS);
  busy.plan(2, 2, 1_000, 0, 3 * SECOND_MS);
  busy.plan(3, 6, 200, 0, 3 * SECOND_MS);
  finish(busy, 3 * SECOND_MS);
  const [aloneMs, besideMs] = [quiet.p99Ms(1), busy.p99Ms(1)];
  assert(besideMs <= 2 * aloneMs, `${besideMs} ms instead of ${aloneMs} ms`);
  // The way itself loses some: nothing of it waited so long that it was the oldest.
  assert(busy.arrivals(1).length >= 190, `${busy.arrivals(1).length} of 200 arrived`);

  // While both send too much, their shares are of bytes, whatever the packets are.
  const inTime = ({ atMs }: Arrival) => atMs > fromMs && atMs < untilMs;
  const [large, small] = [2, 3].map((agent) => busy.arrivals(agent).filter(inTime).length) as [number, number];
  const ratio = large * (1_000 + HEADER_BYTES) / (small * (200 + HEADER_BYTES));
  assert(ratio > 0.9 && ratio < 1.1, `${large} large packets and ${small} small ones`);
  assert(server.metric("droppedQueue") > 0);
  assertEquals(server.metric("droppedQueueMemory"), 0);
  // The newest of each has arrived, in its order.
  for (const agent of [2, 3]) {
    const numbers = busy.arrivals(agent).map(({ number }) => number);
    assertEquals(numbers, numbers.toSorted((a, b) => a - b));
    assert(busy.lastSent(agent) - (numbers.at(-1) ?? 0) < 100, "the newest packets went, not the oldest");
  }
});
