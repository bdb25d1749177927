/**
 * Agents that are connected directly, and what becomes of their certificates: revoked, denied, over. And what they are told when the
 * connector itself ends.
 */
import { assert, assertEquals } from "@std/assert";
import { join } from "node:path";
import type { X509Certificate } from "@peculiar/x509";
import { ConnectorRig, direct, serviceAt, UdpPort } from "./connector_rig_fixture.ts";
import { Gateway } from "./gateway_fixture.ts";
import { routed, udpPacket } from "./inner_packets_fixture.ts";
import type { RawClient } from "./raw_client_fixture.ts";
import { revocation, ServerRig } from "./server_rig_fixture.ts";

const ENDS = { from: ["100.64.0.1", 40_000], to: ["10.100.0.1", 53] } as const;
const LEAF = { dns: ["agent.web.ztna"], eku: ["clientAuth"] as const };

/** A packet reaches the backend and its answer comes back. */
async function assertServed(rig: ServerRig, agent: RawClient): Promise<void> {
  const before = agent.datagrams.length;
  agent.send(routed("web", udpPacket(ENDS, "still there?")));
  await rig.until(() => agent.datagrams.length > before);
}

Deno.test("a revocation list that is read anew closes the direct agent that it names and keeps it out; others stay", async () => {
  await using rig = await ServerRig.start();
  await using udp = await UdpPort.open(true);
  using connector = await ConnectorRig.start(rig, { services: [serviceAt("web", udp.port)], p2p: true });
  const [bad, good] = [
    await rig.authority.issue({ commonName: "bad", ...LEAF }),
    await rig.authority.issue({ commonName: "good", ...LEAF }),
  ];
  const revoked = rig.dial(bad, direct(connector)), other = rig.dial(good, direct(connector));
  await rig.until(() => revoked.addresses.length > 0 && other.addresses.length > 0);
  await assertServed(rig, revoked);
  assertEquals(connector.reloadRevocation(await revocation(rig.authority, [bad])), null);
  await rig.until(() => revoked.ending !== null);
  assertEquals([revoked.ending?.info?.code, revoked.ending?.info?.reason], [0x102, "certificate revoked"]);
  const events = connector.events.filter(({ event_type }) => event_type === "certificate_revoked");
  assertEquals(events.map(({ details }) => details["subject"]), ["CN=bad"]);
  assert(connector.has("peer-revoked", { code: "revoked" }));
  assertEquals([connector.count("p2pClosedRevoked"), connector.count("p2pClosedExpired")], [1, 0]);
  await rig.until(() => connector.count("packetFlows") === 0);
  const again = rig.dial(bad, direct(connector));
  await rig.until(() => again.ending !== null);
  assertEquals(again.ending?.info?.code, 0x12c, "TLS alert: certificate revoked");
  await assertServed(rig, other);

  // A list that has ended refuses everybody of its issuer, unless it is tolerated; and one that cannot be read changes nothing.
  const ended = await revocation(rig.authority, [], new Date(Date.now() - 60_000));
  assertEquals(connector.reloadRevocation(ended), null);
  const late = rig.dial(good, direct(connector));
  await rig.until(() => late.ending !== null);
  assertEquals(connector.reloadRevocation({ ...ended, toleratesStale: true }), null);
  const tolerated = rig.dial(good, direct(connector));
  await rig.until(() => tolerated.addresses.length > 0);
  const broken = { crlPem: new TextEncoder().encode("no list"), toleratesStale: false, denied: [] };
  assert(connector.reloadRevocation(broken) !== null);
  await assertServed(rig, tolerated);
});

Deno.test("a direct agent ends with its certificate, and with the word of an operator", async () => {
  await using rig = await ServerRig.start();
  await using udp = await UdpPort.open(true);
  using connector = await ConnectorRig.start(rig, { services: [serviceAt("web", udp.port)], p2p: true });
  const identity = await rig.authority.issue({ commonName: "denied", ...LEAF });
  const denied = rig.dial(identity, direct(connector));
  await rig.until(() => denied.addresses.length > 0);
  assertEquals(connector.deny((identity.certificate as X509Certificate).serialNumber), 1);
  await rig.until(() => denied.ending !== null);
  const again = rig.dial(identity, direct(connector));
  await rig.until(() => again.ending !== null);
  assertEquals([again.ending?.info?.code, again.addresses.length], [0x102, 0], "never told anything");
  const short = await rig.authority.issue({ commonName: "short", ...LEAF, notAfter: new Date(Date.now() + 3_000) });
  const ending = rig.dial(short, direct(connector));
  await rig.until(() => ending.addresses.length > 0 || ending.ending !== null);
  await rig.until(() => ending.ending !== null, 30_000);
  assert(ending.addresses.length === 0 || ending.ending?.info?.code === 0x102, JSON.stringify(ending.ending));
});

Deno.test({
  name: "the program: a list that changes on disk closes a direct agent without a signal, and SIGTERM tells the others why",
  // The test runner cannot tell the reading of a process's log from a leak.
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    await using rig = await ServerRig.start();
    await using udp = await UdpPort.open(true);
    await using gateway = await Gateway.empty();
    const { pki, folder } = gateway;
    await gateway.startServer();
    const shown = await pki.issue("p2p", { dns: ["ztna-connector"], eku: ["serverAuth"] });
    const [bad, good] = [
      await pki.authority.issue({ commonName: "bad", ...LEAF }),
      await pki.authority.issue({ commonName: "good", ...LEAF }),
    ];
    const list = join(folder, "crl.pem");
    Deno.writeFileSync(list, await pki.authority.crl({ revoked: [] }));
    const service = ["--service", `web=127.0.0.1:${udp.port}/udp`, "--p2p-bind", "127.0.0.1:0"];
    const flags = [...service, "--p2p-cert", shown.cert, "--p2p-key", shown.key, "--p2p-crl", list];
    const connector = await gateway.startConnector({}, pki.connector, ...flags);
    await connector.until("registered", { service: "web" });
    const [p2pPort = 0] = await connector.ports();
    const options = { ...direct({ p2pPort }), trustPem: pki.authority.certificatePem };
    const revoked = rig.dial(bad, options), other = rig.dial(good, options);
    await rig.until(() => revoked.addresses.length > 0 && other.addresses.length > 0);
    Deno.writeFileSync(`${list}.new`, await pki.authority.crl({ revoked: [bad] }));
    Deno.renameSync(`${list}.new`, list);
    await rig.until(() => revoked.ending !== null, 20_000);
    assertEquals(revoked.ending?.info, { isApplication: true, code: 0x102, reason: "certificate revoked" });
    await connector.until("peer-revoked", { code: "revoked" });
    await assertServed(rig, other);
    const ending = connector.stop("SIGTERM");
    await rig.until(() => other.ending !== null, 20_000);
    assertEquals(other.ending?.info, { isApplication: true, code: 0, reason: "connector shutting down" });
    assertEquals((await ending).code, 0);
  },
});
