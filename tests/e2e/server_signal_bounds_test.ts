/** What signalling may take of the server from a client without any right: few streams, little memory, few malformed messages. */
import { assert, assertEquals } from "@std/assert";
import { ServerRig } from "./server_rig_fixture.ts";

async function stranger(rig: ServerRig) {
  const client = rig.dial(null);
  await rig.until(() => client.isUp);
  return client;
}

/** The beginning of a message of 65,536 bytes. */
function halfMessage(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  bytes.set([0, 1, 0, 0]);
  return bytes;
}

Deno.test("a client that is not registered has one signalling stream; the others are aborted and counted", async () => {
  await using rig = await ServerRig.start({ requireClientCert: false });
  const client = await stranger(rig);
  for (let stream = 0; stream < 100; stream++) client.write(4 * stream, halfMessage(50), false);
  await rig.until(() => rig.count("signalStreamsMany") === 99);
  assert(client.isUp);
});

Deno.test("a client that is not registered gets little of a message held", async () => {
  await using rig = await ServerRig.start({ requireClientCert: false });
  const client = await stranger(rig);
  client.write(0, halfMessage(8_000), false);
  await rig.until(() => rig.count("signalStreamsHeld") === 1);
  assert(client.isUp);
});

Deno.test("a registered peer has four signalling streams", async () => {
  await using rig = await ServerRig.start();
  const client = await rig.registered("agent", "web");
  for (let stream = 0; stream < 6; stream++) client.write(4 * stream, halfMessage(100), false);
  await rig.until(() => rig.count("signalStreamsMany") === 2);
  await rig.until(() => rig.count("heldSignalBytes") === 400);
  assertEquals([rig.count("signalStreamsHeld"), client.isUp], [0, true]);
});

Deno.test("half a message that does not become whole is given up", async () => {
  await using rig = await ServerRig.start({ requireClientCert: false });
  const client = await stranger(rig);
  client.write(0, halfMessage(100), false);
  const beganMs = performance.now();
  while (rig.count("signalStreamsLate") === 0 && performance.now() - beganMs < 15_000) await rig.pause(500);
  assertEquals(rig.count("signalStreamsLate"), 1);
  assert(performance.now() - beganMs > 8_000);
});

Deno.test("who keeps sending malformed messages loses the stream, then the connection", async () => {
  await using rig = await ServerRig.start({ requireClientCert: false });
  const client = await stranger(rig);
  client.write(0, new Uint8Array(2_000), false);
  await rig.until(() => rig.count("signalStreamsMalformed") === 1);
  assertEquals([rig.count("signalsMalformed"), client.isUp], [16, true]);
  for (let stream = 1; stream < 5 && client.ending === null; stream++) {
    client.write(4 * stream, new Uint8Array(2_000), false);
    await rig.pause(50);
  }
  await rig.until(() => client.ending !== null);
  assertEquals(rig.count("signalsMalformed"), 64);
});
