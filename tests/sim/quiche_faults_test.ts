/**
 * Real quiche, in real time, on links whose faults follow from a seed: what the product's own engine makes of loss, reordering,
 * duplicates, spoilt packets, a small MTU, a new address and a server that begins anew.
 *
 * POSTERN_SIM_SEEDS=N runs N seeds of each kind, POSTERN_SIM_SEED=N only that one and tells its story.
 */
import { assert, assertEquals } from "@std/assert";
import { QuicheGateway, type QuicheGatewayOptions, type Transfer } from "./quiche_gateway_fixture.ts";
import { quicheKit, quicheMaterial } from "./quiche_kit_fixture.ts";
import { runSeeds } from "./sim_seeds_fixture.ts";
import { CLEAN_LINK, type Datagram, type LinkFaults } from "./sim_udp_fixture.ts";
import { SimWorld } from "./sim_world_fixture.ts";
import { PLAIN_SCRIPT, type ScriptPlan } from "./tunnel_script_fixture.ts";

const MIB = 1024 * 1024;
const PATIENCE_MS = 30_000;
const FILE = "quiche_faults_test.ts";

const kit = quicheKit();
const material = await quicheMaterial();

/** The client sends and ends, the backend answers as much and ends then. */
const REQUEST = { ...PLAIN_SCRIPT, sendBytes: MIB };
const ANSWER = { ...PLAIN_SCRIPT, sendBytes: MIB, starts: "after-end" } as const;

type Tell = (gateway: QuicheGateway) => readonly string[];

/** Tells the same story with every seed. Libraries that a world opens stay open for the next one. */
function story(
  name: string,
  link: Partial<LinkFaults>,
  tell: Tell,
  { seeds = 2, ...options }: Partial<QuicheGatewayOptions> & { readonly seeds?: number } = {},
): void {
  const run = (seed: number, show?: (line: string) => void) => ({
    print: () => "",
    wrong(): readonly string[] {
      using gateway = new QuicheGateway({ seed, kit, material, link, ...options, ...(show === undefined ? {} : { show }) });
      const wrong = gateway.ready() ? tell(gateway) : ["the gateway is not ready in time"];
      return wrong.length === 0 ? [] : [...wrong, gateway.faults()];
    },
  });
  Deno.test({ name, sanitizeResources: false, fn: () => runSeeds({ name, file: FILE, seeds, run }) });
}

/** What a transfer lacks. */
function lacks({ client, backend }: Transfer): string[] {
  return [client, backend].flatMap((script) => {
    const { label, fault, isComplete, sent, received, plan, other, broken } = script;
    if (fault !== null) return [`${label} ${fault}`];
    const wanted = other?.plan.sendBytes ?? 0;
    if (isComplete && received === wanted) return [];
    return [`${label} sent ${sent} of ${plan.sendBytes}, received ${received} of ${wanted}, errno ${broken}`];
  });
}

interface Course {
  readonly request?: ScriptPlan;
  readonly answer?: ScriptPlan;
  /** Something happens whenever so much of the request has arrived. */
  readonly atBytes?: readonly number[];
  happen?(): void;
  /** From the last happening to the end. */
  readonly withinMs?: number;
}

/** Lets a transfer come to its end. */
function carry(gateway: QuicheGateway, course: Course = {}): string[] {
  const { request = REQUEST, answer = ANSWER, atBytes = [], withinMs = PATIENCE_MS } = course;
  const transfer = gateway.transfer(request, answer);
  const { client, backend } = transfer;
  const { world } = gateway;
  for (const bytes of atBytes) {
    world.run(world.nowMs + PATIENCE_MS, () => backend.received >= bytes);
    course.happen?.();
  }
  world.run(world.nowMs + withinMs, () => client.isOver && backend.isOver);
  return lacks(transfer);
}

const once: Tell = (gateway) => carry(gateway);

story("quiche: a megabyte each way arrives whole when one packet of twenty is lost", { loss: 0.05 }, once);

story("quiche: packets that overtake each other and come twice change nothing", {
  reorder: 0.2,
  reorderMs: 10,
  duplicate: 0.1,
  jitterMs: 2,
}, once);

story("quiche: spoilt packets are dropped, and what was in them comes again", { corrupt: 0.02, delayMs: 3 }, once);

story("quiche: everything at once, on a slow line with a small queue", {
  loss: 0.02,
  reorder: 0.05,
  reorderMs: 15,
  duplicate: 0.02,
  corrupt: 0.005,
  delayMs: 5,
  bytesPerMs: 2_000,
  queueMs: 40,
}, once);

story(
  "quiche: a path and an interface that carry no larger packets than Ethernet's",
  { payloadBytesMax: 1_472 },
  once,
  { interfaceMtu: 1_500 },
);

story("quiche: a path that carries the smallest packets only", { payloadBytesMax: 1_200, loss: 0.01 }, once, { retries: false });

story(
  "quiche: an agent whose address changes keeps its connections, and hardly waits",
  { delayMs: 3 },
  (gateway) => carry(gateway, { atBytes: [MIB / 4], happen: () => gateway.agent.host.nat?.rebind(), withinMs: 2_000 }),
);

story(
  "quiche: addresses may change again and again, their hosts too, on a bad path that carries no large packets",
  { delayMs: 3, loss: 0.01, payloadBytesMax: 1_472 },
  (gateway) => {
    let moves = 0;
    const happen = () => {
      const mover = moves % 2 === 0 ? gateway.agent : gateway.connector;
      if (moves % 4 < 2) mover.host.nat?.rebind();
      else gateway.move(mover, `172.16.${moves}.3`);
      moves++;
    };
    return carry(gateway, { atBytes: Array.from({ length: 8 }, (_, n) => (n + 1) * MIB / 10), happen });
  },
  { interfaceMtu: 1_500 },
);

story(
  "quiche: a new address that nothing reaches is given up, and asked anew when more comes from there",
  { delayMs: 3 },
  (gateway) => {
    const { world, agent, server } = gateway;
    return carry(gateway, {
      atBytes: [MIB / 4],
      happen() {
        agent.host.nat?.rebind();
        const back = world.network.link(server.plane.host, agent.host);
        back.isCut = true;
        world.events.after(8_500, () => void (back.isCut = false));
      },
    });
  },
  { seeds: 1 },
);

story(
  "quiche: a connector that has nothing to say, and whose address changes, is found again within seconds",
  { delayMs: 3 },
  (gateway) => {
    const request = { ...PLAIN_SCRIPT, sendBytes: 16_384, writeBytesMax: 500, writePauseMs: 20 };
    return carry(gateway, { request, atBytes: [8_192], happen: () => gateway.connector.host.nat?.rebind(), withinMs: 4_000 });
  },
);

story("quiche: a link that is cut for a moment is no end", { delayMs: 2 }, (gateway) => {
  const { world, agent, server } = gateway;
  return carry(gateway, {
    atBytes: [MIB / 4],
    happen() {
      world.network.cut(agent.host, server.plane.host, true);
      world.events.after(700, () => world.network.cut(agent.host, server.plane.host, false));
    },
  });
});

story(
  "quiche: clients of a server that begins anew come back at once, told by a reset that needs no state",
  { delayMs: 1 },
  (gateway) => {
    const first = carry(gateway);
    gateway.restartServer();
    const { world, agent, server } = gateway;
    // Both register. They notice when they say something, which each does a second after it heard something.
    const isBack = () =>
      agent.metric("reconnections") > 0 && agent.metric("uplinkUp") === 1 && server.plane.metric("registrations") > 1;
    if (!world.run(world.nowMs + 5_000, isBack)) return [...first, "they are not back in time"];
    return [...first, ...carry(gateway)];
  },
);

Deno.test("what a link does to its packets follows from the seed alone", () => {
  const fates = (seed: number) => {
    const world = new SimWorld({ seed, kit });
    const [near, far] = [world.host("near", ["10.0.0.1"]), world.host("far", ["10.0.0.2"])];
    world.network.defaults = { ...CLEAN_LINK, loss: 0.1, duplicate: 0.1, corrupt: 0.1, reorder: 0.1, reorderMs: 50 };
    const arrived: string[] = [];
    const receive = ({ bytes }: Datagram) => void arrived.push(`${world.nowMs.toFixed(3)} ${bytes.join()}`);
    world.network.bind({ receive }, ["10.0.0.2"], 1);
    for (let i = 0; i < 200; i++) world.network.send(near, "10.0.0.1|1", `${far.addresses[0]}|1`, new Uint8Array([i, 0]));
    world.run(1_000);
    return arrived;
  };
  assertEquals(fates(5), fates(5));
  assert(fates(5).length > 150 && `${fates(5)}` !== `${fates(6)}`);
});
