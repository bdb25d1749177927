/** Packets that come faster than the connection to the server takes them: of those that wait the oldest go, counted, and told once. */
import { assert, assertEquals } from "@std/assert";
import { AgentRig } from "./agent_rig_fixture.ts";
import { LossyPath } from "./lossy_path_fixture.ts";
import { ServerRig } from "./server_rig_fixture.ts";
import { UdpClient } from "./udp_fixture.ts";

const PATIENCE_MS = 60_000;
const QUEUE = 4_096, FLOOD = 20_000, PER_TURN = 50;
/** Of the flood: what was on its way before, and what the engine holds. */
const ELSEWHERE = 1_000;
const MEMORY_BYTES_MAX = 64 * 1024 * 1024;
/** Of the inner packet. */
const HEADER_BYTES = 28;

Deno.test("of a flood that the way to the server does not take the newest arrive, in order; the others are counted, and told once", async () => {
  await using rig = await ServerRig.start();
  await using path = await LossyPath.start(`127.0.0.1:${rig.port()}`, { seed: 1 });
  const connector = await rig.registered("connector", "dns");
  using agent = await AgentRig.start(rig, ["dns/udp"], undefined, Number(path.address.split(":")[1]), { packetQueueMax: QUEUE });
  const told = (event: string) => agent.logs.filter((record) => record.event === event);
  await rig.until(() => told("registered").length > 0, PATIENCE_MS);
  using client = new UdpClient(agent.ports[0] ?? 0);
  const numbers = () =>
    connector.datagrams.map((one) => Number(new TextDecoder().decode(one.subarray(HEADER_BYTES)).split(" ")[0]));

  path.pause();
  const before = Deno.memoryUsage().rss;
  const padding = "x".repeat(1_000);
  let next = 0;
  await rig.until(() => {
    for (const end = next + PER_TURN; next < end; next++) client.send(new TextEncoder().encode(`${next} ${padding}`));
    return next >= FLOOD;
  }, PATIENCE_MS);
  await rig.until(() => agent.count("droppedQueue") >= FLOOD - QUEUE - ELSEWHERE, PATIENCE_MS);
  assert(Deno.memoryUsage().rss - before < MEMORY_BYTES_MAX, "memory grew with the flood");
  assertEquals(told("datagram-dropped").map(({ level, fields }) => [level, fields["reason"], fields["queue_max"]]), [
    ["warn", "queue", QUEUE],
  ]);

  path.resume();
  await rig.until(() => numbers().some((number) => number >= FLOOD - PER_TURN), PATIENCE_MS);
  const arrived = numbers();
  // What the client hands over at one time the runtime may send in any order.
  const bursts = arrived.map((number) => Math.floor(number / PER_TURN));
  assertEquals(bursts, bursts.toSorted((a, b) => a - b));
  assert(arrived.filter((number) => number >= FLOOD - QUEUE).length > QUEUE / 2, `${arrived.length} arrived`);
});
