/**
 * What the server gives to those who have not shown that they receive at their address, counted at the other end of the wire; and that
 * servers with the same keys take each other's proof.
 */
import { assert, assertEquals } from "@std/assert";
import { ServerRig } from "../e2e/server_rig_fixture.ts";
import { Stranger, Wiretap } from "./garbage_fixture.ts";

const key = (byte: number) => new Uint8Array(32).fill(byte);
const RETRY = 3;
const longType = (packet: Uint8Array) => ((packet[0] ?? 0) & 0x80) === 0 ? -1 : ((packet[0] ?? 0) >> 4) & 3;

/** The first flight of a real client that nobody answers. */
async function firstFlight(rig: ServerRig): Promise<Uint8Array[]> {
  await using tap = await Wiretap.before(rig.port());
  tap.serverPort = 9;
  const client = await rig.client(["agent.web.ztna"], { server: { address: "127.0.0.1", port: tap.port } });
  await rig.until(() => tap.recorded.length >= 2);
  client.dispose();
  return tap.recorded.slice(0, 2);
}

Deno.test("without Retry a client that never answers gets no more than three times what it sent, however long the server tries", async () => {
  await using rig = await ServerRig.start({ retryKeys: null });
  const flight = await firstFlight(rig);
  await using stranger = await Stranger.make();
  await stranger.send(flight, rig.port());
  await rig.until(() => stranger.answeredBytes > 0);
  await rig.untilCount("accepted", 1);
  // The server repeats its part until it gives the handshake up.
  await rig.until(() => rig.count("activeConnections") === 0, 20_000);
  assert(stranger.answeredBytes <= 3 * stranger.sentBytes, `${stranger.answeredBytes} bytes for ${stranger.sentBytes}`);
  assert(
    stranger.answeredBytes > stranger.sentBytes,
    "the server's certificate did not fit in less: the bound was met, not missed",
  );
  await rig.untilCount("handshakeTimeouts", 1);
});

Deno.test("with Retry a client that never answers gets less than it sent, and leaves nothing", async () => {
  await using rig = await ServerRig.start();
  const flight = await firstFlight(rig);
  await using stranger = await Stranger.make();
  for (let n = 0; n < 20; n++) await stranger.send(flight, rig.port());
  await rig.untilCount("retries", 40);
  assert(stranger.answeredBytes > 0 && stranger.answeredBytes < stranger.sentBytes / 5, `${stranger.answeredBytes}`);
  assertEquals([rig.count("activeConnections"), rig.count("accepted"), rig.count("connectionIds")], [0, 0, 0]);
});

Deno.test("a packet of another version is answered by less than it was, and a short one not at all", async () => {
  await using rig = await ServerRig.start();
  await using stranger = await Stranger.make();
  const [packet = new Uint8Array()] = await firstFlight(rig);
  const other = packet.slice();
  other.set([0xfa, 0xfa, 0xfa, 0xfa], 1);
  await stranger.send([other.subarray(0, 1_000)], rig.port());
  await rig.pause(150);
  assertEquals(stranger.answeredBytes, 0);
  await stranger.send([other], rig.port());
  await rig.untilCount("versionNegotiations", 1);
  await rig.until(() => stranger.answeredBytes > 0);
  assert(stranger.answeredBytes < 100, `${stranger.answeredBytes}`);
});

Deno.test("a token of one server is good at another with the same key, also when that seals with a newer one; without the key it is not", async () => {
  const first = await ServerRig.start({ retryKeys: [{ id: 1, key: key(1) }] });
  const { authority, plan } = first;
  const { tls } = plan;
  const second = await ServerRig.start({ retryKeys: [{ id: 2, key: key(2) }, { id: 1, key: key(1) }], tls });
  const third = await ServerRig.start({ retryKeys: [{ id: 2, key: key(2) }], tls });
  const rigs = [first, second, third];
  const turnUntil = async (done: () => boolean, ms = 10_000) => {
    for (const until = performance.now() + ms; !done() && performance.now() < until;) {
      for (const rig of rigs) rig.turn();
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
  };
  for (const [taking, isTaken] of [[second, true], [third, false]] as const) {
    // The first packet goes to one server; what follows its Retry, to the other.
    const tap: Wiretap = await Wiretap.before(first.port(), (packet) => {
      if (longType(packet) === RETRY) tap.serverPort = taking.port();
    });
    const identity = await authority.issue({ commonName: "agent", dns: ["agent.web.ztna"], eku: ["clientAuth"] });
    const client = first.dial(identity, { server: { address: "127.0.0.1", port: tap.port } });
    await turnUntil(() => client.isUp || taking.count("retryTokenFailures") > 0);
    await turnUntil(() => taking.count("retryTokensValidated") + taking.count("retryTokenFailures") > 0, 1_000);
    assertEquals(
      [client.isUp, taking.count("retryTokensValidated"), taking.count("accepted")],
      isTaken ? [true, 1, 1] : [false, 0, 0],
    );
    client.close();
    await turnUntil(() => false, 50);
    client.dispose();
    await tap[Symbol.asyncDispose]();
  }
  for (const rig of rigs) await rig[Symbol.asyncDispose]();
});
