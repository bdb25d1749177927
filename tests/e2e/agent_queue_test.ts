/** Packets that come faster than the connection to the server takes them: its queue is bounded, and what it loses is counted and told. */
import { assertEquals } from "@std/assert";
import { UPLINK_TRANSPORT } from "../../src/roles/uplink/mod.ts";
import { AgentRig } from "./agent_rig_fixture.ts";
import { LossyPath } from "./lossy_path_fixture.ts";
import { ServerRig } from "./server_rig_fixture.ts";
import { UdpClient } from "./udp_fixture.ts";

const PATIENCE_MS = 60_000;
/** Enough that they are told once and not each. */
const LOST = 300;
const PER_TURN = 64;

Deno.test("packets that find no room on the way to the server are counted, and told once", async () => {
  await using rig = await ServerRig.start();
  // Handshake and registration pass; of what comes then a part, and no answer any more.
  const dark = { afterBytes: 100_000, forMs: 10 * PATIENCE_MS };
  await using path = await LossyPath.start(`127.0.0.1:${rig.port()}`, { seed: 1, dark });
  using agent = await AgentRig.start(rig, ["dns/udp"], undefined, Number(path.address.split(":")[1]));
  const told = (event: string) => agent.logs.filter((record) => record.event === event);
  await rig.until(() => told("registered").length > 0, PATIENCE_MS);
  using client = new UdpClient(agent.ports[0] ?? 0);
  const bytes = new Uint8Array(900);
  await rig.until(() => {
    for (let i = 0; i < PER_TURN; i++) client.send(bytes);
    return agent.count("droppedQueue") >= LOST;
  }, PATIENCE_MS);
  const { datagramQueueMax } = UPLINK_TRANSPORT;
  assertEquals(told("datagram-dropped").map(({ level, fields }) => [level, fields["reason"], fields["queue_max"]]), [
    ["warn", "queue", datagramQueueMax],
  ]);
});
