/**
 * A connector that stands still: what waits for it is bounded, by sender, and gives way from its oldest end; nobody else is concerned.
 */
import { assert, assertEquals } from "@std/assert";
import { FAIR_QUEUES } from "../../src/roles/server/limits.ts";
import { udpPacket } from "./inner_packets_fixture.ts";
import type { RawClient } from "./raw_client_fixture.ts";
import { ServerRig } from "./server_rig_fixture.ts";

const SERVICE_IP = "10.100.0.2", AGENT_IP = "100.64.0.1";
const HEADER_BYTES = 28;
const BURST = 250;
/** Room for what the engines hold beside the queue, and for what must go. */
const FLOOD = FAIR_QUEUES.senderPacketsMax + 8 * BURST;
const LONG_MS = 60_000;

const packet = (port: number, text: string) => udpPacket({ from: [AGENT_IP, port], to: [SERVICE_IP, 53] }, text);
const texts = (client: RawClient) => client.datagrams.map((one) => new TextDecoder().decode(one.subarray(HEADER_BYTES)));
/** The numbers behind a word, in the order in which they came. */
const numbers = (client: RawClient, word: string) =>
  texts(client).filter((text) => text.startsWith(word)).map((text) => Number(text.split(" ")[1]));

/** An agent sends more than a queue holds to a connector that has just vanished; something else is done when a part of it has left. */
async function flood(rig: ServerRig, agent: RawClient, meanwhile: () => void = () => {}): Promise<void> {
  for (let number = 0; number < FLOOD; number++) {
    if (number % BURST === 0) await rig.until(() => agent.connection.engine.datagramQueueLength() === 0, LONG_MS);
    if (number === 4 * BURST) meanwhile();
    agent.send(packet(1_000, `flood ${number}`));
  }
  await rig.until(() => rig.count("droppedQueue") >= BURST, LONG_MS);
}

Deno.test("a flood for a connector that stands still loses its oldest packets; a few of another agent wait and arrive", async () => {
  await using rig = await ServerRig.start();
  const still = await rig.registered("connector", "web"), other = await rig.registered("connector", "db");
  const greedy = await rig.registered("agent", "web"), modest = await rig.registered("agent", "web");
  const elsewhere = await rig.registered("agent", "db");
  still.vanish();
  await flood(rig, greedy, () => {
    for (let number = 0; number < 5; number++) modest.send(packet(2_000, `modest ${number}`));
  });

  elsewhere.send(packet(3_000, "elsewhere 0"));
  await rig.until(() => numbers(other, "elsewhere").length === 1, LONG_MS);
  await rig.until(() => rig.count("waitingDatagrams") > 0, LONG_MS);
  const waiting = rig.count("waitingDatagrams");
  assert(waiting <= FAIR_QUEUES.senderPacketsMax + 10, `${waiting} wait`);

  still.comeBack();
  await rig.until(() => numbers(still, "modest").includes(4) && numbers(still, "flood").includes(FLOOD - 1), LONG_MS);
  assertEquals(numbers(still, "modest"), [0, 1, 2, 3, 4]);
  const arrived = numbers(still, "flood");
  assertEquals(arrived, arrived.toSorted((a, b) => a - b));
  assert(arrived.length >= FAIR_QUEUES.senderPacketsMax - BURST, `${arrived.length} of the flood arrived`);
  await rig.until(() => rig.count("waitingDatagrams") === 0, LONG_MS);
  assertEquals(rig.count("droppedQueueMemory"), 0);
});

Deno.test("what waits for a connector that ends is dropped and counted", async () => {
  await using rig = await ServerRig.start();
  const still = await rig.registered("connector", "web");
  const greedy = await rig.registered("agent", "web");
  still.vanish();
  await flood(rig, greedy);
  await rig.until(() => rig.count("waitingDatagrams") > 0, LONG_MS);
  still.comeBack();
  still.close();
  await rig.until(() => rig.count("droppedPeerGone") > 0 && rig.count("waitingDatagrams") === 0, LONG_MS);
});
