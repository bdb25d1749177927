/** Whose certificate is revoked, denied or over: refused at the door, and put out when already inside. */
import { assert, assertEquals } from "@std/assert";
import { X509Certificate } from "@peculiar/x509";
import type { Issued } from "../pki/mod.ts";
import { revocation, ServerRig } from "./server_rig_fixture.ts";

const serialOf = ({ certificate }: Issued) => (certificate as X509Certificate).serialNumber;

const leaf = { dns: ["agent.web.ztna"], eku: ["clientAuth"] as const };

Deno.test("a list that is read anew closes the peer that it names at once, and keeps it out; others stay", async () => {
  await using rig = await ServerRig.start();
  const [bad, good] = [
    await rig.authority.issue({ commonName: "bad", ...leaf }),
    await rig.authority.issue({ commonName: "good", ...leaf }),
  ];
  const badClient = rig.dial(bad), goodClient = rig.dial(good);
  await rig.until(() => badClient.isUp && goodClient.isUp);
  assertEquals([await rig.register(badClient, "agent", "web"), await rig.register(goodClient, "agent", "web")], ["ack", "ack"]);
  const started = performance.now();
  const { count, error } = rig.reload({ revocation: await revocation(rig.authority, [bad]) });
  assertEquals([count, error], [1, null]);
  await rig.until(() => !badClient.isUp);
  assert(performance.now() - started < 5_000);
  assertEquals(badClient.ending?.info?.code, 0x102);
  assertEquals(rig.events.filter(({ event_type }) => event_type === "certificate_revoked").length, 1);
  const again = rig.dial(bad);
  await rig.until(() => again.ending !== null);
  assertEquals(again.ending?.info?.code, 0x12c, "TLS alert: certificate revoked");
  assertEquals(await rig.register(goodClient, "agent", "web"), "ack");
  await rig.untilCount("closedRevoked", 1);
});

Deno.test("a list that names an intermediate authority closes the peers below it, and no others", async () => {
  await using rig = await ServerRig.start();
  const middle = await rig.authority.authority({ commonName: "Middle CA" });
  const below = rig.dial(await middle.issue({ commonName: "below", dns: ["agent.web.ztna"], eku: ["clientAuth"] }));
  await rig.until(() => below.isUp);
  assertEquals(await rig.register(below, "agent", "web"), "ack");
  const beside = await rig.registered("agent", "web");
  const serial = middle.certificate.serialNumber;
  const listing = (issuer: string) => ({ revocation: { crlPem: null, toleratesStale: false, denied: [{ serial, issuer }] } });
  assertEquals(rig.reload(listing("CN=Another CA")).count, 0);
  assertEquals(rig.reload(listing("CN=Rig CA")).count, 1);
  await rig.until(() => below.ending !== null);
  assertEquals([below.ending?.info?.code, beside.isUp], [0x102, true]);
});

Deno.test("a serial is denied by itself, for those inside and those who come", async () => {
  await using rig = await ServerRig.start();
  const identity = await rig.authority.issue({ commonName: "x", ...leaf });
  const client = rig.dial(identity);
  await rig.until(() => client.isUp);
  assertEquals(await rig.register(client, "agent", "web"), "ack");
  assertEquals(rig.deny(serialOf(identity).toUpperCase()), 1);
  await rig.until(() => client.ending !== null);
  const again = rig.dial(identity);
  await rig.until(() => again.ending !== null);
  assertEquals([again.ending?.info?.code, again.addresses.length], [0x102, 0], "never told anything");
  // What an operator denied outlives a reload of the files.
  assertEquals(rig.reload({}).error, null);
  const third = rig.dial(identity);
  await rig.until(() => third.ending !== null);
});

Deno.test("an issuer without a list is refused while there are lists; an outdated list refuses, unless it is tolerated", async () => {
  await using rig = await ServerRig.start();
  const outdated = await revocation(rig.authority, [], new Date(Date.now() - 60_000));
  assertEquals(rig.reload({ revocation: outdated }).error, null);
  const refused = await rig.client(["agent.web.ztna"]);
  await rig.until(() => refused.ending !== null);
  assertEquals(rig.reload({ revocation: { ...outdated, toleratesStale: true } }).error, null);
  const tolerated = await rig.client(["agent.web.ztna"]);
  await rig.until(() => tolerated.isUp && tolerated.addresses.length === 1);
  const other = await ServerRig.start();
  assertEquals(rig.reload({ revocation: await revocation(other.authority, []) }).error, null);
  await other[Symbol.asyncDispose]();
  const unlisted = await rig.client(["agent.web.ztna"]);
  await rig.until(() => unlisted.ending !== null);
});

Deno.test("a certificate that ends while its connection lives ends the connection", async () => {
  await using rig = await ServerRig.start();
  const short = await rig.authority.issue({ commonName: "short", ...leaf, notAfter: new Date(Date.now() + 3_600_000) });
  const client = rig.dial(short), lasting = await rig.client(["agent.web.ztna"]);
  await rig.until(() => client.addresses.length === 1 && lasting.addresses.length === 1);
  // The clock is set while both are connected; the next look is at most half a minute away, so the lists are read anew.
  rig.wallClockAheadMs = 3_601_000;
  assertEquals(rig.reload({}).count, 1);
  await rig.until(() => client.ending !== null);
  assertEquals([client.ending?.info?.code, client.ending?.info?.reason], [0x102, "certificate expired"]);
  assertEquals(lasting.isUp, true);
  await rig.untilCount("closedExpired", 1);
});

Deno.test("the end of a certificate is a timer of its own", async () => {
  await using rig = await ServerRig.start();
  const short = await rig.authority.issue({ commonName: "short", ...leaf, notAfter: new Date(Date.now() + 2_500) });
  const client = rig.dial(short);
  await rig.until(() => client.addresses.length === 1);
  await rig.until(() => client.ending !== null, 8_000);
  assertEquals(client.ending?.info?.code, 0x102);
});

Deno.test("a reload that is refused changes nothing, and what lives stays", async () => {
  await using rig = await ServerRig.start();
  const client = await rig.registered("agent", "web");
  const { tls } = rig.plan;
  const refused = rig.reload({ tls: { ...tls, certificatePem: new TextEncoder().encode("no certificate") } });
  assert(refused.error !== null && refused.error.includes("certificate"), refused.error ?? "");
  const other = await rig.authority.issue({ commonName: "other" });
  assert(rig.reload({ tls: { ...tls, keyPem: other.privateKeyPem } }).error !== null);
  assertEquals([rig.count("reloadFailures"), rig.count("reloads")], [2, 0]);
  const next = await rig.client(["agent.web.ztna"]);
  await rig.until(() => next.addresses.length === 1);
  assertEquals(await rig.register(client, "agent", "web"), "ack");
});

Deno.test("new handshakes see the new certificate and the new authority, connections of before go on", async () => {
  await using rig = await ServerRig.start();
  const before = await rig.registered("agent", "web");
  const renewed = await rig.authority.issue({ commonName: "ztna-server", dns: ["ztna-server"], serial: "0abcdef0" });
  const { tls } = rig.plan;
  assertEquals(rig.reload({ tls: { ...tls, certificatePem: renewed.certificatePem, keyPem: renewed.privateKeyPem } }).error, null);
  const after = await rig.client(["agent.web.ztna"]);
  await rig.until(() => after.addresses.length === 1);
  assertEquals(after.connection.engine.peerCertificate()?.serial.replace(/^0+/, ""), "abcdef0");
  assertEquals(await rig.register(before, "agent", "web"), "ack");
});

Deno.test("who was closed is nobody's peer as soon as the close has left, and gets nothing new", async () => {
  await using rig = await ServerRig.start();
  const connector = await rig.registered("connector", "web"), agent = await rig.registered("agent", "web");
  const [serial] = rig.status().peers.filter(({ role }) => role === "connector").map(({ certificate }) =>
    certificate?.serial ?? ""
  );
  assertEquals(rig.deny(serial ?? ""), 1);
  rig.turn();
  const { peers, services } = rig.status();
  assertEquals(peers.map(({ role }) => role), ["agent"]);
  assertEquals(services.map(({ id, state }) => [id, state]), [["web", "no-connector"]]);
  await rig.until(() => connector.ending !== null);
  assert(agent.isUp);
});
