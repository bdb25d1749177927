/** Local UDP clients of the agent that say nothing any more: what is kept about them goes, by the clock. */
import { assertEquals } from "@std/assert";
import { AgentRig } from "./agent_rig_fixture.ts";
import { ConnectorRig, serviceAt } from "./connector_rig_fixture.ts";
import { ServerRig } from "./server_rig_fixture.ts";
import { UdpBackend, UdpClient } from "./udp_fixture.ts";

/** A flow without a datagram lives so long. */
const IDLE_MS = 60_000;

Deno.test("a UDP client that was idle for a minute is forgotten, one that goes on is not; its next datagram begins anew", async () => {
  await using rig = await ServerRig.start();
  await using backend = await UdpBackend.start();
  using _connector = await ConnectorRig.start(rig, { services: [serviceAt("dns", backend.port, "udp")] });
  using agent = await AgentRig.start(rig, ["dns/udp"]);
  const [port = 0] = agent.ports;
  using quiet = new UdpClient(port), talking = new UdpClient(port);
  const ask = async (client: UdpClient, text: string) => assertEquals(await agent.during(client.hear(text)), `re: ${text}`);
  const flows = () => [agent.count("udpFlows"), agent.count("activeUdpFlows")];
  const limit = () => agent.status().limits.find(({ name }) => name === "udp-flows")?.used;
  await ask(quiet, "one");
  await ask(talking, "two");
  assertEquals([flows(), limit()], [[2, 2], 2]);

  rig.clockAheadMs += IDLE_MS / 2;
  await ask(talking, "three");
  rig.clockAheadMs += IDLE_MS / 2 + 1_000;
  await rig.until(() => agent.count("activeUdpFlows") === 1);
  await ask(talking, "four");
  assertEquals([flows(), limit()], [[2, 1], 1]);

  await ask(quiet, "five");
  assertEquals([flows(), limit()], [[3, 2], 2]);
  rig.clockAheadMs += IDLE_MS + 1_000;
  await rig.until(() => agent.count("activeUdpFlows") === 0);
  assertEquals([flows(), limit()], [[3, 0], 0]);
});
