/** What the server makes of registrations that are not as they should be: each answered or dropped as WIRE §4 says, and counted. */
import { assertEquals } from "@std/assert";
import { fromHex } from "../../src/base/mod.ts";
import { ServerRig } from "./server_rig_fixture.ts";

const hex = (text: string) => fromHex(text) ?? new Uint8Array();

Deno.test("a service id that is no UTF-8 is refused without being repeated, counted, and the client may go on", async () => {
  await using rig = await ServerRig.start();
  const client = await rig.client(["agent.*.ztna"]);
  await rig.until(() => client.isUp);
  client.send(hex("1001ff"));
  await rig.until(() => client.replies.length === 1);
  assertEquals(client.replies[0], { kind: "nack", status: "invalid", statusByte: 1, service: "" });
  await rig.untilCount("rejections", 1);
  assertEquals(await rig.register(client, "agent", "web"), "ack");
});

Deno.test("a byte order mark is a part of an id, so such an id is another one, and none that may be registered", async () => {
  await using rig = await ServerRig.start();
  const client = await rig.client(["agent.a.ztna"]);
  await rig.until(() => client.isUp);
  client.send(hex("1004efbbbf61"));
  client.send(hex("100161"));
  await rig.until(() => client.replies.length === 2);
  assertEquals(client.replies.map((reply) => [reply.kind, "service" in reply ? reply.service : null]), [["nack", ""], [
    "ack",
    "a",
  ]]);
});

Deno.test("a registration that is not whole is dropped and counted, and nothing is said", async () => {
  await using rig = await ServerRig.start();
  const client = await rig.client(["agent.*.ztna"]);
  await rig.until(() => client.isUp);
  for (const frame of ["10", "11", "100561", "11ff61"]) client.send(hex(frame));
  await rig.untilCount("droppedMalformed", 4);
  assertEquals([client.replies.length, rig.count("rejections"), rig.count("registrations")], [0, 0, 0]);
});

Deno.test("a status lists as many peers as are asked for, and says how many there are", async () => {
  await using rig = await ServerRig.start();
  for (let i = 0; i < 3; i++) await rig.registered("agent", "web");
  const { peers: none, peersTotal } = rig.status(0, 0);
  assertEquals([none, peersTotal], [[], 3]);
  const { peers: two, peersTotal: still } = rig.status(0, 2);
  assertEquals([two.map(({ name }) => name), still], [["agent.web.ztna", "agent.web.ztna"], 3]);
  assertEquals(rig.status().peers.length, 3);
});
