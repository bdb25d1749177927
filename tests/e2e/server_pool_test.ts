/** Several connectors of one service: flows are spread, stay where they are, go over when one leaves; one identity has one place. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import type { Issued } from "../pki/mod.ts";
import { readUdp, udpPacket } from "./inner_packets_fixture.ts";
import type { RawClient } from "./raw_client_fixture.ts";
import { ServerRig } from "./server_rig_fixture.ts";

const FLOWS = 20;
const question = (port: number) => udpPacket({ from: ["100.64.0.1", 5000 + port], to: ["10.100.0.2", 53] }, `${port}`);

/** The flows whose packets the connector got since it was asked last. */
function taken({ datagrams }: RawClient): number[] {
  return datagrams.splice(0).map((datagram) => Number(readUdp(datagram).text)).sort((a, b) => a - b);
}

class Pool {
  readonly rig: ServerRig;
  readonly agent: RawClient;

  private constructor(rig: ServerRig, agent: RawClient) {
    this.rig = rig;
    this.agent = agent;
  }

  static async of(rig: ServerRig): Promise<Pool> {
    return new Pool(rig, await rig.registered("agent", "web"));
  }

  identity(name: string): Promise<Issued> {
    return this.rig.authority.issue({ commonName: name, dns: ["connector.web.ztna"], eku: ["clientAuth"] });
  }

  /** A connector of this identity, and how its registration was answered. */
  async join(identity: Issued): Promise<{ readonly connector: RawClient; readonly reply: string }> {
    const connector = this.rig.dial(identity);
    await this.rig.until(() => connector.isUp);
    return { connector, reply: await this.rig.register(connector, "connector", "web") };
  }

  /** One packet of every flow; returns who got which. */
  async ask(connectors: readonly RawClient[]): Promise<number[][]> {
    for (let port = 0; port < FLOWS; port++) this.agent.send(question(port));
    await this.rig.until(() => connectors.reduce((sum, { datagrams }) => sum + datagrams.length, 0) >= FLOWS);
    return connectors.map(taken);
  }
}

Deno.test("flows are spread over the connectors, stay with theirs, and go over to another when theirs leaves", async () => {
  await using rig = await ServerRig.start();
  const pool = await Pool.of(rig);
  const [first, second] = [await pool.join(await pool.identity("a")), await pool.join(await pool.identity("b"))];
  assertEquals([first.reply, second.reply], ["ack", "ack"]);
  const connectors = [first.connector, second.connector];
  const spread = await pool.ask(connectors);
  assert(spread.every((flows) => flows.length >= FLOWS / 4), `${spread.map(({ length }) => length)}`);
  assertEquals(await pool.ask(connectors), spread, "the same flows at the same connectors");

  first.connector.close();
  await rig.until(() => rig.status().services[0]?.connectors === 1);
  const [none, all] = await pool.ask(connectors);
  assertEquals([none?.length, all?.length], [0, FLOWS]);
  // A third takes new flows; those that have a connector stay.
  const third = await pool.join(await pool.identity("c"));
  const [stayed, moved] = await pool.ask([second.connector, third.connector]);
  assertEquals([stayed?.length, moved?.length], [FLOWS, 0]);
});

Deno.test("the same identity takes its own place over, with a warning; the other connector's flows stay", async () => {
  await using rig = await ServerRig.start();
  const pool = await Pool.of(rig);
  const identity = await pool.identity("a");
  const old = await pool.join(identity), other = await pool.join(await pool.identity("b"));
  const [, others] = await pool.ask([old.connector, other.connector]);
  const newer = await pool.join(identity);
  assertEquals(newer.reply, "ack");
  const warning = rig.logs.find(({ event, level }) => event === "connector-replaced" && level === "warn");
  assertMatch(warning?.message ?? "", /^Connector replacement: service 'web' was a#\d+, now a#\d+$/);
  await rig.until(() => old.connector.ending !== null);
  assertEquals(old.connector.ending?.info?.code, 0x103);
  const [, stayed] = await pool.ask([newer.connector, other.connector]);
  assertEquals(stayed?.filter((flow) => others?.includes(flow)), others, "who had the other connector keeps it");
  await rig.untilCount("closedReplaced", 1);
});

Deno.test("two connections of one identity that keep taking the place from each other: the older stays, the newer is told why", async () => {
  await using rig = await ServerRig.start();
  const pool = await Pool.of(rig);
  const identity = await pool.identity("a");
  const replies: string[] = [];
  for (let n = 0; n < 5; n++) replies.push((await pool.join(identity)).reply);
  assertEquals(replies, ["ack", "ack", "ack", "ack", "taken"]);
  assertEquals(rig.status().services.map(({ id, connectors }) => [id, connectors]), [["web", 1]]);
  await rig.untilCount("rejections", 1);
});

Deno.test("a connector that is killed and started again, however often, is no loop; what it left behind is closed when it stays silent", async () => {
  await using rig = await ServerRig.start();
  const pool = await Pool.of(rig);
  const identity = await pool.identity("a");
  const replies: string[] = [];
  for (let n = 0; n < 6; n++) {
    const { connector, reply } = await pool.join(identity);
    replies.push(reply);
    if (n > 0) {
      rig.clockAheadMs += 6_000;
      await rig.untilCount("closedReplaced", n);
    }
    connector.vanish();
  }
  assertEquals(replies, Array.from({ length: 6 }, () => "ack"));
});

Deno.test("an agent's certificate and a connector's of another service never take the place of a connector", async () => {
  await using rig = await ServerRig.start();
  const pool = await Pool.of(rig);
  const { connector } = await pool.join(await pool.identity("a"));
  for (const name of ["agent.web.ztna", "connector.db.ztna"]) {
    const thief = await rig.client([name]);
    await rig.until(() => thief.isUp);
    assertEquals(await rig.register(thief, "connector", "web"), "not-authorised");
  }
  // A connection has one role.
  assertEquals(await rig.register(pool.agent, "connector", "web"), "not-authorised");
  assertEquals((await pool.ask([connector]))[0]?.length, FLOWS);
});
