/** The door: Retry, its keys, repeated and spoofed first packets, stateless resets after a restart. */
import { createSocket } from "node:dgram";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { knock } from "../../src/core/quic/mod.ts";
import { ServerRig } from "./server_rig_fixture.ts";

const key = (byte: number) => new Uint8Array(32).fill(byte);

/** A first packet as far as the server looks before it decrypts: RFC 9000 §17.2.2, padded to 1200 bytes. */
function initial(token: Uint8Array = new Uint8Array(0)): Uint8Array {
  const packet = new Uint8Array(1200);
  packet.set([0xc3, 0, 0, 0, 1, 16]);
  crypto.getRandomValues(packet.subarray(6, 22));
  packet[22] = 16;
  crypto.getRandomValues(packet.subarray(23, 39));
  packet[39] = token.length;
  packet.set(token, 40);
  const lengthAt = 40 + token.length;
  new DataView(packet.buffer).setUint16(lengthAt, 0x4000 | (1200 - lengthAt - 2));
  return packet;
}

/** Sends from a socket of its own and collects what comes back. */
async function exchange(rig: ServerRig, packets: readonly Uint8Array[], waitMs = 100): Promise<Uint8Array[]> {
  const socket = createSocket("udp4");
  const answers: Uint8Array[] = [];
  socket.on("message", (data: Uint8Array) => answers.push(data));
  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
  for (const packet of packets) {
    await new Promise((resolve) => socket.send(packet, 0, packet.length, rig.port(), "127.0.0.1", resolve));
  }
  await rig.pause(waitMs);
  await new Promise<void>((resolve) => socket.close(resolve));
  return answers;
}

Deno.test("ten thousand first packets without a token leave nothing but Retry packets, each smaller than what it answers", async () => {
  await using rig = await ServerRig.start();
  const sizes: number[] = [];
  for (let batch = 0; batch < 100; batch++) {
    const answers = await exchange(rig, Array.from({ length: 100 }, () => initial()), 15);
    sizes.push(...answers.map(({ length }) => length));
  }
  assert(sizes.length > 5_000 && Math.max(...sizes) < 200, `${sizes.length} answers up to ${Math.max(...sizes)} bytes`);
  await rig.pause(150);
  assertEquals([rig.count("activeConnections"), rig.count("accepted"), rig.count("connectionIds")], [0, 0, 0]);
  const client = await rig.client(["agent.web.ztna"]);
  await rig.until(() => client.isUp);
});

Deno.test("made-up tokens are refused without an answer, counted, and do not flood the log", async () => {
  await using rig = await ServerRig.start();
  const forged = Array.from({ length: 50 }, () => initial(crypto.getRandomValues(new Uint8Array(53))));
  assertEquals((await exchange(rig, forged)).length, 0);
  await rig.untilCount("retryTokenFailures", 50);
  const lines = rig.logs.filter(({ event }) => event === "retry-token-refused");
  assert(lines.length > 0 && lines.length <= 10 && lines[0]?.message.startsWith("Invalid retry token from 127.0.0.1:"));
});

Deno.test("without Retry a client is in one round trip sooner, and answers to strangers stay below three times what came", async () => {
  await using rig = await ServerRig.start({ retryKeys: null });
  const client = await rig.client(["agent.web.ztna"]);
  await rig.until(() => client.isUp);
  await rig.pause(150);
  assertEquals([rig.count("retries"), rig.count("retryTokensValidated")], [0, 0]);
  const packet = initial();
  const answers = await exchange(rig, [packet]);
  assert(answers.reduce((sum, { length }) => sum + length, 0) <= 3 * packet.length);
});

Deno.test("keys change while tokens are under way: those of a key that is kept are good", async () => {
  await using rig = await ServerRig.start({ retryKeys: [{ id: 1, key: key(1) }] });
  const first = await rig.client(["agent.web.ztna"]);
  await rig.until(() => first.isUp);
  assertEquals(rig.reload({ retryKeys: [{ id: 2, key: key(2) }, { id: 1, key: key(1) }] }).error, null);
  const second = await rig.client(["agent.web.ztna"]);
  await rig.until(() => second.isUp);
  assertEquals(rig.reload({ retryKeys: null }).error, null);
  const third = await rig.client(["agent.web.ztna"]);
  await rig.until(() => third.isUp);
  await rig.untilCount("retryTokensValidated", 2);
  assertEquals([rig.count("retryTokensValidated"), rig.count("retryTokenFailures")], [2, 0]);
});

Deno.test("a server that was killed ends its old connections at once when it is back with its key", async () => {
  const resetKey = key(9);
  const before = await ServerRig.start({ resetKey });
  const client = await before.registered("agent", "web");
  const port = before.port();
  before.kill();
  await using after = await ServerRig.start({ resetKey, binds: [{ address: "127.0.0.1", port }] });
  const started = performance.now();
  client.send(new Uint8Array(200));
  await after.until(() => {
    // The client lives in the first server's reactor.
    before.turn();
    return client.ending !== null;
  });
  assert(performance.now() - started < 3_000);
  await after.untilCount("resets", 1);
  client.dispose();
});

Deno.test("a client that has nothing to say knocks: a server that knows it stays silent, one that has lost it says so", async () => {
  const resetKey = key(9);
  const before = await ServerRig.start({ resetKey });
  const client = await before.registered("agent", "web");
  const { engine } = before.world;
  const fill = (bytes: Uint8Array) => void crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>);
  knock(engine, client.connection, fill);
  assertEquals(await before.register(client, "agent", "web"), "ack");
  assertEquals(client.ending, null);
  const port = before.port();
  before.kill();
  await using after = await ServerRig.start({ resetKey, binds: [{ address: "127.0.0.1", port }] });
  knock(engine, client.connection, fill);
  await after.until(() => {
    // The client lives in the first server's reactor.
    before.turn();
    return client.ending !== null;
  });
  assertMatch(client.ending?.info?.reason ?? "", /^stateless reset/);
  client.dispose();
});

Deno.test("garbage at the port: the server counts it and serves on", async () => {
  await using rig = await ServerRig.start();
  const connector = await rig.registered("connector", "web");
  for (let batch = 0; batch < 20; batch++) {
    const random = () => crypto.getRandomValues(new Uint8Array(1 + Math.floor(Math.random() * 1400)));
    await exchange(rig, Array.from({ length: 100 }, random), 10);
  }
  const agent = await rig.registered("agent", "web");
  assert(agent.isUp && connector.isUp);
  await rig.pause(150);
  assert(rig.count("ignoredMalformed") + rig.count("ignoredUnknown") + rig.count("ignoredShort") > 1_000);
  assertEquals(rig.count("activeConnections"), 2);
});
