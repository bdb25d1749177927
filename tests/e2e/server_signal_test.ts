/** Signalling through the server: the way of a session on streams of both versions, and who may take no part in one. */
import { assert, assertEquals } from "@std/assert";
import { ALPN_V1, ALPN_V2, type Candidate, type SignalMessage } from "../../src/core/wire/mod.ts";
import type { RawClient } from "./raw_client_fixture.ts";
import { ServerRig } from "./server_rig_fixture.ts";

const host = (ip: string, port: number): Candidate => ({
  type: "host",
  address: { ip, port },
  priority: 2130706431,
  foundation: `host_${ip}`,
  relatedAddress: null,
});
const offer = (sessionId: bigint, service = "web", candidates = [host("192.0.2.7", 5000)]): SignalMessage => ({
  kind: "candidate-offer",
  sessionId,
  service,
  candidates,
});
const answer = (sessionId: bigint, candidates = [host("198.51.100.9", 4434)]): SignalMessage => ({
  kind: "candidate-answer",
  sessionId,
  candidates,
});

/** The next signalling message that the client has not looked at. */
async function next(rig: ServerRig, client: RawClient): Promise<SignalMessage> {
  await rig.until(() => client.signals.length > 0);
  return client.signals.shift() as SignalMessage;
}

async function pair(rig: ServerRig, agentVersion: string, connectorVersion: string) {
  return {
    connector: await rig.registered("connector", "web", { protocols: [connectorVersion] }),
    agent: await rig.registered("agent", "web", { protocols: [agentVersion] }),
  };
}

for (const agentVersion of [ALPN_V1, ALPN_V2]) {
  for (const connectorVersion of [ALPN_V1, ALPN_V2]) {
    Deno.test(`${agentVersion} agent, ${connectorVersion} connector: offer, answer, both start with the other's candidates, results cross`, async () => {
      await using rig = await ServerRig.start();
      const { connector, agent } = await pair(rig, agentVersion, connectorVersion);
      agent.signal(0, offer(7n));
      const offered = await next(rig, connector);
      assertEquals(offered, offer(7n));
      // On ztna-v1 the connector writes its own stream 0, whichever stream it was spoken to on.
      connector.signal(0, answer(7n));
      const [atAgent, atConnector] = [await next(rig, agent), await next(rig, connector)];
      assertEquals([atAgent.kind, atConnector.kind], ["start-punching", "start-punching"]);
      assertEquals(atAgent.kind === "start-punching" && atAgent.candidates, [host("198.51.100.9", 4434)]);
      assertEquals(atConnector.kind === "start-punching" && atConnector.candidates, [host("192.0.2.7", 5000)]);
      const result: SignalMessage = {
        kind: "punching-result",
        sessionId: 7n,
        success: true,
        workingAddress: { ip: "192.0.2.7", port: 5000 },
      };
      agent.signal(0, result);
      assertEquals(await next(rig, connector), result);
      assertEquals(agent.signals, [], "the answer itself is not passed on");
      await rig.untilCount("signalSessions", 1);
      // The server answers on the stream that it heard, and speaks first on one of its own.
      assertEquals([...agent.streams.keys()], [0]);
      assertEquals([...connector.streams.keys()], [1, 0]);
    });
  }
}

Deno.test("who is not registered for the service, or was not asked, takes no part", async () => {
  await using rig = await ServerRig.start();
  const { connector, agent } = await pair(rig, ALPN_V1, ALPN_V1);
  const stranger = await rig.client(["agent.web.ztna"]);
  const otherConnector = await rig.client(["connector.web.ztna"], {}, { commonName: "another" });
  await rig.until(() => stranger.isUp && otherConnector.isUp);
  assertEquals(await rig.register(otherConnector, "connector", "web"), "ack");
  stranger.signal(0, offer(1n));
  assertEquals(await next(rig, stranger), {
    kind: "error",
    sessionId: 1n,
    code: "peer-rejected",
    message: "Not registered as an agent of this service",
  });
  agent.signal(0, offer(2n));
  await rig.until(() => connector.signals.length + otherConnector.signals.length === 1);
  const bystander = connector.signals.length === 1 ? otherConnector : connector;
  bystander.signal(0, answer(2n));
  const refused = await next(rig, bystander);
  assertEquals(refused.kind === "error" && refused.code, "session-not-found");
  agent.signal(0, offer(2n));
  const reused = await next(rig, agent);
  assertEquals(reused.kind === "error" && reused.code, "invalid-message");
  agent.signal(0, offer(3n, "other"));
  const foreign = await next(rig, agent);
  assertEquals(foreign.kind === "error" && foreign.code, "peer-rejected");
  await rig.untilCount("signalsRefused", 4);
});

Deno.test("addresses that nobody should be made to send to are taken out", async () => {
  await using rig = await ServerRig.start({ binds: [{ address: "0.0.0.0", port: 0 }] });
  const { connector, agent } = await pair(rig, ALPN_V1, ALPN_V1);
  const candidates = ["0.0.0.0", "224.0.0.1", "255.255.255.255", "127.0.0.1", "169.254.169.254", "203.0.113.4"].map((ip) =>
    host(ip, 9)
  );
  agent.signal(0, offer(1n, "web", candidates));
  const offered = await next(rig, connector);
  assertEquals(offered.kind === "candidate-offer" && offered.candidates.map(({ address }) => address.ip), ["203.0.113.4"]);
});

Deno.test("offers are limited; an agent whose connector left, or does not answer, is told", async () => {
  await using rig = await ServerRig.start();
  const { connector, agent } = await pair(rig, ALPN_V1, ALPN_V1);
  for (let n = 1n; n <= 8n; n++) agent.signal(0, offer(n));
  await rig.untilCount("limit:signals-per-connection", 3);
  assertEquals(connector.signals.length, 5);
  // The server's time for a session is five seconds.
  await rig.until(() => agent.signals.length === 5, 8_000);
  assertEquals(new Set(agent.signals.map((message) => message.kind === "error" ? message.code : "")), new Set(["session-timeout"]));
  agent.signals.length = 0;
  agent.signal(0, offer(20n));
  await rig.until(() => connector.signals.length === 6);
  connector.close();
  const gone = await next(rig, agent);
  assertEquals(gone.kind === "error" && gone.code, "session-not-found");
});

Deno.test("malformed and overlong frames are dropped and counted, cut ones wait, and the stream goes on behind them", async () => {
  await using rig = await ServerRig.start();
  const { connector, agent } = await pair(rig, ALPN_V1, ALPN_V1);
  agent.write(0, Uint8Array.of(0, 0, 0, 3, 9, 9, 9));
  agent.write(0, Uint8Array.of(0, 0, 0, 0));
  const overlong = new Uint8Array(4 + 70_000);
  new DataView(overlong.buffer).setUint32(0, 70_000);
  for (let at = 0; at < overlong.length;) {
    const sent = agent.write(0, overlong.subarray(at, at + 20_000));
    if (sent > 0) at += sent;
    await rig.pause(2);
  }
  await rig.untilCount("signalsMalformed", 3);
  agent.signal(4, offer(9n));
  assertEquals((await next(rig, connector)).kind, "candidate-offer");
});

Deno.test("on ztna-v2 a stream of no known kind is aborted, and one that never says its kind too", async () => {
  await using rig = await ServerRig.start();
  const { agent } = await pair(rig, ALPN_V2, ALPN_V2);
  agent.write(0, Uint8Array.of(0x41, 0x42));
  await rig.until(() => agent.ended.has(0));
  await rig.untilCount("malformedStreams", 1);
  assert(agent.isUp);
  agent.signal(4, offer(1n));
  await rig.until(() => rig.count("signalSessions") === 1);
});
