/**
 * Garbage at an agent's port, which listens for nobody, while its connection to the server and a direct one to a connector stand: from
 * strangers, and in the server's name. Both go on, nothing is kept or answered, what belongs to no connection is counted, and little is said.
 */
import { assert, assertEquals } from "@std/assert";
import { AgentRig } from "../e2e/agent_rig_fixture.ts";
import { ConnectorRig, serviceAt } from "../e2e/connector_rig_fixture.ts";
import { ServerRig } from "../e2e/server_rig_fixture.ts";
import { assertArrived, Backend, echo, exchange } from "../e2e/tcp_fixture.ts";
import { Garbage, Stranger, Wiretap } from "./garbage_fixture.ts";

const SEED = Number(Deno.env.get("POSTERN_FUZZ_SEED") ?? 1);
const PAYLOADS = Number(Deno.env.get("POSTERN_GARBAGE_PAYLOADS") ?? 10_000);
const BATCH = 200, LOOPBACK = "127.0.0.1";
/** What there is for all of them: the test's own packets are in it, and what it holds while it works. */
const GROWN_MAX_BYTES = 64 * 1024 * 1024;
const LINES_MAX = 20;

/** Where a payload that leads to no connection is counted. What carries the ID of one is for the engine to drop. */
const COUNTED = ["ignoredMalformed", "ignoredVersion", "ignoredUnknown"] as const;
/**
 * The least part that is counted there, by who speaks: the kernel drops what comes faster than it is read, and a short header from the
 * server's address may be a stateless reset, so that all of those go to the engine.
 */
const COUNTED_LEAST = { strangers: 0.1, "the server": 0.05 } as const;

/** An agent behind a wiretap whose streams go to the connector itself. */
async function tapped(rig: ServerRig, resources: AsyncDisposableStack) {
  const backend = resources.use(new Backend(echo));
  const { certificatePem, privateKeyPem } = await rig.authority.issue({
    commonName: "ztna-connector",
    dns: ["ztna-connector", "connector.web.ztna"],
  });
  const tls = { certificatePem, keyPem: privateKeyPem, trustPem: rig.authority.certificatePem };
  const services = [serviceAt("web", backend.port), serviceAt("relayed", backend.port)];
  resources.use(await ConnectorRig.start(rig, { services, p2p: { tls, hostAddresses: [LOOPBACK] } }));
  const answers: Uint8Array[] = [];
  const tap = resources.use(await Wiretap.before(rig.port(), (packet) => answers.push(new Uint8Array(packet))));
  const agent = resources.use(
    await AgentRig.start(rig, ["web", "relayed"], undefined, tap.port, { direct: { hostAddresses: [LOOPBACK] } }),
  );
  const [web = 0, relayed = 0] = agent.ports;
  const body = new Uint8Array(20_000).map((_, i) => i * 29);
  const serves = async () => {
    for (const port of [web, relayed]) assertArrived(await agent.during(exchange(port, body)), body);
  };
  await serves();
  await rig.until(() => agent.logs.some(({ event, fields }) => event === "direct-opened" && fields["service"] === "web"));
  await serves();
  return { agent, tap, recorded: [...tap.recorded, ...answers], serves };
}

for (const speaker of ["strangers", "the server"] as const) {
  Deno.test(`garbage of ${speaker} at an agent's port (seed ${SEED}): both of its connections go on, and it is counted`, async () => {
    await using resources = new AsyncDisposableStack();
    const rig = resources.use(await ServerRig.start());
    const { agent, tap, recorded, serves } = await tapped(rig, resources);
    const stranger = resources.use(await Stranger.make());
    const garbage = new Garbage(SEED, recorded);
    const counted = () => COUNTED.reduce((sum, metric) => sum + agent.count(metric), 0);
    const [logged, before, direct, memory] = [
      agent.logs.length,
      counted(),
      agent.count("streamsDirect"),
      Deno.memoryUsage().rss,
    ];
    for (let n = 0; n < PAYLOADS; n += BATCH) {
      const payloads = garbage.many(BATCH);
      await agent.during(speaker === "strangers" ? stranger.send(payloads, tap.clientPort) : tap.speakAsServer(payloads));
      if (n % (PAYLOADS / 5) === 0) await serves();
    }
    await serves();
    await rig.until(() => counted() - before > PAYLOADS * COUNTED_LEAST[speaker]);
    for (const metric of COUNTED) assert(agent.count(metric) > 0, metric);
    assertEquals([agent.status().uplink?.state, agent.count("directConnections"), agent.count("reconnections")], ["up", 1, 0]);
    assert(agent.count("streamsDirect") - direct >= 6, "what went directly still does");
    assertEquals(stranger.answeredBytes, 0, "a stranger is not answered");
    assert(agent.logs.length - logged < LINES_MAX, `${agent.logs.length - logged} log lines`);
    const grown = Deno.memoryUsage().rss - memory;
    assert(grown < GROWN_MAX_BYTES, `${grown} bytes more`);
  });
}
