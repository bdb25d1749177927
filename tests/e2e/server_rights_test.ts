/** What a reload takes back is taken back from those who are connected: whoever still uses it is closed, and nobody else. */
import { assert, assertEquals } from "@std/assert";
import { ALPN_V2 } from "../../src/core/wire/mod.ts";
import type { RawClient } from "./raw_client_fixture.ts";
import { ServerRig } from "./server_rig_fixture.ts";

const OPEN_WEB = Uint8Array.of(0x54, 0, 6, 1, 0, 3, 0x77, 0x65, 0x62);
const RIGHT_GONE = 0x104, NO_CERTIFICATE = 0x101;

async function anonymous(rig: ServerRig): Promise<RawClient> {
  const client = rig.dial(null, { protocols: [ALPN_V2] });
  await rig.until(() => client.isUp);
  return client;
}

async function codeOf(rig: ServerRig, client: RawClient): Promise<number | undefined> {
  await rig.until(() => client.ending !== null);
  return client.ending?.info?.code;
}

Deno.test("who is registered for a service that anonymous clients may no longer use is closed, others stay", async () => {
  await using rig = await ServerRig.start({ requireClientCert: false, allowAnonymous: ["agent:web", "agent:other"] });
  const connector = await rig.registered("connector", "web");
  const certified = await rig.registered("agent", "web");
  const [client, other] = [await anonymous(rig), await anonymous(rig)];
  assertEquals([await rig.register(client, "agent", "web"), await rig.register(other, "agent", "other")], ["ack", "ack"]);
  assertEquals(rig.reload({ requireClientCert: false, allowAnonymous: ["agent:other"] }).count, 1);
  assertEquals([await codeOf(rig, client), rig.count("closedWithdrawn")], [RIGHT_GONE, 1]);
  assert(other.isUp && certified.isUp && connector.isUp);
  await rig.until(() => rig.status().peers.length === 3);
  const again = await anonymous(rig);
  assertEquals(await rig.register(again, "agent", "web"), "not-authorised", "it may come back, but not for this");
});

Deno.test("an anonymous client with nothing but an open stream loses it with the right to it", async () => {
  await using rig = await ServerRig.start({ requireClientCert: false, allowAnonymous: ["agent:web"] });
  const connector = await rig.registered("connector", "web", { protocols: [ALPN_V2] });
  const client = await anonymous(rig);
  client.write(0, OPEN_WEB, false);
  await rig.until(() => connector.streams.size === 1);
  assertEquals(rig.reload({ allowAnonymous: [] }).count, 1);
  assertEquals(await codeOf(rig, client), RIGHT_GONE);
});

Deno.test("when certificates are required from now on, clients without one are closed", async () => {
  await using rig = await ServerRig.start({ requireClientCert: false, allowAnonymous: ["agent:web"] });
  const certified = await rig.registered("connector", "web");
  const client = await anonymous(rig);
  await rig.untilCount("established", 2);
  assertEquals(rig.reload({ requireClientCert: true, allowAnonymous: ["agent:web"] }).count, 1);
  assertEquals([await codeOf(rig, client), certified.isUp], [NO_CERTIFICATE, true]);
});

Deno.test("certificates without a ZTNA name lose what allow_legacy_certs let them do, and a reload that changes nothing closes nobody", async () => {
  await using rig = await ServerRig.start({ allowLegacyCerts: true });
  const named = await rig.registered("agent", "web");
  const legacy = await rig.client(["old.example.com"]);
  await rig.until(() => legacy.isUp);
  assertEquals(await rig.register(legacy, "connector", "web"), "ack");
  assertEquals(rig.reload({ allowLegacyCerts: true }).count, 0);
  assertEquals(rig.reload({ allowLegacyCerts: false }).count, 1);
  assertEquals([await codeOf(rig, legacy), named.isUp], [RIGHT_GONE, true]);
  await rig.until(() => rig.status().peers.length === 1);
});
