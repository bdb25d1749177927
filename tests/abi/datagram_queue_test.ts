/** Datagrams that come faster than they are read: the engine's queue drops the oldest, and the endpoint says how many. */
import { assert, assertEquals } from "@std/assert";
import { createProfiles, MemoryNetwork, type MemoryPacket, RecordingHandler } from "./endpoint_fixture.ts";

const SERVER = "192.0.2.1", CLIENT = "198.51.100.7", PORT = 4433;
const QUEUE = 256, SENT = 1_000, PER_TURN = 100;

Deno.test("of datagrams that nobody read in time the oldest are dropped, and every one is counted", async () => {
  const network = new MemoryNetwork();
  const profiles = await createProfiles(network.engine, { datagramQueueMax: QUEUE });
  const atServer = new RecordingHandler(() => network.engine), atClient = new RecordingHandler(() => network.engine);
  const server = network.endpoint(atServer), client = network.endpoint(atClient);
  server.accept(profiles.server);
  network.bind(server, SERVER, PORT);
  const connection = client.connect(network.bind(client, CLIENT, 5000), profiles.client, "server.test", network.slot(SERVER, PORT));
  assert(connection !== null);
  await network.pump(() => atServer.count("established") === 1 && atClient.count("established") === 1);

  const batch: MemoryPacket[] = [];
  network.middlebox = (packet) => {
    if (packet.to.address !== SERVER) return packet;
    batch.push(packet);
    return null;
  };
  const at = network.layout.reserve(16);
  for (let number = 0; number < SENT; number++) {
    const text = new TextEncoder().encode(`${number}`);
    network.engine.arena.bytes.set(text, at);
    assertEquals(connection.engine.datagramSend(at, text.length), 0);
    connection.touch();
    if (number % PER_TURN === PER_TURN - 1) await network.pump(() => connection.engine.datagramQueueLength() === 0);
  }
  assertEquals(server.counters.datagramsOverflowed, 0);
  for (const packet of batch) network.deliver(packet);
  network.middlebox = (packet) => packet;
  await network.pump(() => atServer.datagrams.length >= QUEUE);
  assertEquals(atServer.datagrams, Array.from({ length: QUEUE }, (_, i) => `${SENT - QUEUE + i}`));
  await network.pump(() => server.counters.datagramsOverflowed === SENT - QUEUE);
});
