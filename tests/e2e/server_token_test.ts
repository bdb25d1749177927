/** Registration tokens: who brings one, signed by an issuer and proved for this connection, is let in as far as it says. */
import { Buffer } from "node:buffer";
import { createHash, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { assert, assertEquals } from "@std/assert";
import {
  ALPN_V1,
  ALPN_V2,
  decodeResult,
  encodeProof,
  encodeTokenClaims,
  PROOF_EXPORTER,
  PROOF_MAX_BYTES,
  proofSignatureInput,
  type TokenClaims,
  tokenSignatureInput,
} from "../../src/core/wire/mod.ts";
import type { RawClient } from "./raw_client_fixture.ts";
import { ServerRig } from "./server_rig_fixture.ts";

const sha256 = (bytes: Uint8Array) => new Uint8Array(createHash("sha256").update(bytes).digest());
const spkiOf = (key: KeyObject) => new Uint8Array(key.export({ type: "spki", format: "der" }));
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const inAnHour = () => Math.floor(Date.now() / 1000) + 3600;

const issuer = generateKeyPairSync("ed25519"), stranger = generateKeyPairSync("ed25519"), holder = generateKeyPairSync("ed25519");
const tokenIssuers = [spkiOf(issuer.publicKey)];

function tokenOf(changes: Partial<TokenClaims> = {}, by = issuer.privateKey): Uint8Array {
  const claims = encodeTokenClaims({
    role: "agent",
    services: ["web"],
    expiresSeconds: inAnHour(),
    holder: hex(sha256(spkiOf(holder.publicKey))),
    ...changes,
  });
  assert(claims !== null);
  return new Uint8Array(Buffer.concat([claims, sign(null, tokenSignatureInput(claims), by)]));
}

/** The proof for this connection, or what it would be for another one. */
function proofOf(client: RawClient, token: Uint8Array, of: RawClient = client, key = holder): Uint8Array {
  const exported = of.connection.engine.exportKey(PROOF_EXPORTER.label, new Uint8Array(0), PROOF_EXPORTER.lengthBytes);
  assert(exported !== null);
  const signature = new Uint8Array(sign(null, proofSignatureInput(exported, sha256(token)), key.privateKey));
  const bytes = new Uint8Array(PROOF_MAX_BYTES);
  return bytes.slice(0, encodeProof(bytes, 0, { token, publicKey: spkiOf(key.publicKey), signature }));
}

async function dial(rig: ServerRig): Promise<RawClient> {
  const client = rig.dial(null, { protocols: [ALPN_V2] });
  await rig.until(() => client.isUp);
  return client;
}

function resultOn(client: RawClient, stream: number): string {
  const bytes = Uint8Array.from(client.streams.get(stream) ?? []);
  const result = decodeResult(bytes, 0, bytes.length);
  return result.kind === "result" ? result.code : result.kind;
}

Deno.test("a proved token lets its holder in, told its address only then, for what the token says and nothing else", async () => {
  await using rig = await ServerRig.start({ tokenIssuers });
  const connector = await rig.registered("connector", "web");
  const client = await dial(rig);
  assertEquals(await rig.register(client, "agent", "web"), "not-authorised", "before it has proved anything");
  assertEquals(client.addresses.length, 0);
  client.write(0, proofOf(client, tokenOf()), true);
  await rig.until(() => client.addresses.length === 1);
  await rig.until(() => client.ended.has(0));
  assertEquals(resultOn(client, 0), "accepted");
  assertEquals(await rig.register(client, "agent", "web"), "ack");
  assertEquals(await rig.register(client, "agent", "other"), "not-authorised");
  assertEquals(await rig.register(client, "connector", "web"), "not-authorised");
  assert(connector.isUp, "clients with certificates are let in beside it");
  await rig.untilCount("established", 2);
  assertEquals([rig.count("tokensAccepted"), rig.count("tokensRefused")], [1, 0]);
});

const REFUSALS: readonly (readonly [what: string, make: (client: RawClient, other: RawClient) => Uint8Array])[] = [
  ["signed by a stranger", (client) => proofOf(client, tokenOf({}, stranger.privateKey))],
  ["that has expired", (client) => proofOf(client, tokenOf({ expiresSeconds: Math.floor(Date.now() / 1000) }))],
  ["for another holder", (client) => proofOf(client, tokenOf({ holder: "00".repeat(32) }))],
  ["with another's key", (client) => proofOf(client, tokenOf(), client, stranger)],
  ["proved on another connection", (client, other) => proofOf(client, tokenOf(), other)],
  ["that was changed", (client) => {
    const token = tokenOf();
    token[5] = (token[5] ?? 0) ^ 3;
    return proofOf(client, token);
  }],
  ["in a damaged message", (client) => proofOf(client, tokenOf()).slice(0, 60)],
];

for (const [what, make] of REFUSALS) {
  Deno.test(`a token ${what} is refused and its connection closed`, async () => {
    await using rig = await ServerRig.start({ tokenIssuers });
    const [client, other] = [await dial(rig), await dial(rig)];
    client.write(0, make(client, other), true);
    await rig.until(() => client.ending !== null);
    assertEquals([resultOn(client, 0), client.ending?.info?.code, client.addresses.length], ["denied", 0x101, 0]);
    await rig.untilCount("tokensRefused", 1);
  });
}

Deno.test("a connection has one attempt: a second proof takes no identity's place, though it is good and began first or later", async () => {
  await using rig = await ServerRig.start({ tokenIssuers });
  const client = await dial(rig);
  const begun = proofOf(client, tokenOf({ expiresSeconds: Math.floor(Date.now() / 1000) + 4 }));
  client.write(4, begun.slice(0, 20), false);
  await rig.pause(100);
  client.write(0, proofOf(client, tokenOf({ services: ["other"] })), true);
  await rig.untilCount("malformedStreams", 1);
  client.write(4, begun.slice(20), true);
  await rig.until(() => client.ended.has(4));
  assertEquals([resultOn(client, 4), await rig.register(client, "agent", "web")], ["accepted", "ack"]);
  client.write(8, proofOf(client, tokenOf({ services: ["other"] })), true);
  await rig.untilCount("malformedStreams", 2);
  assertEquals(await rig.register(client, "agent", "other"), "not-authorised");
  assertEquals([rig.count("tokensAccepted"), rig.count("tokensRefused")], [1, 0]);
  await rig.until(() => client.ending !== null, 8_000);
  assertEquals(client.ending?.info?.reason, "token expired", "the first one's end still holds");
});

Deno.test("of many bad proofs on one connection one is judged, and of those of many connections only some become events", async () => {
  await using rig = await ServerRig.start({ tokenIssuers });
  const client = await dial(rig);
  const bad = proofOf(client, tokenOf({}, stranger.privateKey));
  for (let stream = 0; stream < 400; stream += 4) client.write(stream, bad, true);
  await rig.until(() => client.ending !== null);
  const failures = () => rig.events.filter(({ event_type }) => event_type === "auth_failure").length;
  assertEquals([rig.count("tokensRefused"), failures()], [1, 1]);
  for (let n = 0; n < 12; n++) {
    const next = await dial(rig);
    next.write(0, proofOf(next, tokenOf({}, stranger.privateKey)), true);
    await rig.until(() => next.ending !== null);
  }
  assertEquals([rig.count("tokensRefused"), failures()], [13, 10]);
});

Deno.test("who has neither certificate nor token is closed: on ztna-v1 at once, on ztna-v2 after five seconds", async () => {
  await using rig = await ServerRig.start({ tokenIssuers });
  const old = rig.dial(null, { protocols: [ALPN_V1] });
  await rig.until(() => old.ending !== null);
  assertEquals(old.ending?.info, { isApplication: false, code: 1, reason: "client cert required" });
  const silent = await dial(rig);
  const started = performance.now();
  // Neither opens nor signalling count before.
  silent.write(0, Uint8Array.of(0x54, 0, 6, 1, 0, 3, 0x77, 0x65, 0x62));
  await rig.until(() => silent.ending !== null);
  const lasted = performance.now() - started;
  assert(lasted > 4_000 && lasted < 7_000, `${Math.round(lasted)} ms`);
  assertEquals([silent.ending?.info?.code, silent.addresses.length], [0x101, 0]);
});

Deno.test("a connection ends with its token", async () => {
  await using rig = await ServerRig.start({ tokenIssuers });
  const client = await dial(rig);
  client.write(0, proofOf(client, tokenOf({ expiresSeconds: Math.floor(Date.now() / 1000) + 3 })), true);
  await rig.until(() => client.addresses.length === 1);
  await rig.until(() => client.ending !== null, 8_000);
  assertEquals([client.ending?.info?.code, client.ending?.info?.reason], [0x102, "token expired"]);
});

Deno.test("when an issuer's key is taken away, those whom it let in are closed, those of other issuers stay", async () => {
  const both = [spkiOf(stranger.publicKey), ...tokenIssuers];
  await using rig = await ServerRig.start({ tokenIssuers: both });
  const [client, other] = [await dial(rig), await dial(rig)];
  client.write(0, proofOf(client, tokenOf()), true);
  other.write(0, proofOf(other, tokenOf({ services: ["other"] }, stranger.privateKey)), true);
  await rig.untilCount("tokensAccepted", 2);
  assertEquals(await rig.register(client, "agent", "web"), "ack");
  assertEquals(rig.reload({ tokenIssuers: both.toReversed() }).count, 0);
  assertEquals(rig.reload({ tokenIssuers: both.slice(0, 1) }).count, 1);
  await rig.until(() => client.ending !== null);
  assertEquals([client.ending?.info?.code, other.isUp], [0x101, true]);
  assertEquals(rig.reload({ tokenIssuers: [] }).count, 1, "and the last one's with the last");
});

Deno.test("without an issuer's key a proof is nothing, and certificates are required", async () => {
  await using rig = await ServerRig.start();
  const client = rig.dial(null, { protocols: [ALPN_V2] });
  await rig.until(() => client.ending !== null);
  assertEquals(client.ending?.info?.code, 0x174, "TLS alert: certificate required");
});
