/** Sources replaced on the way up and put back on the way down, in packets and in what ICMP errors quote. */
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import fc from "fast-check";
import { A, answerAsSeen, B, C1, KINDS, Rig, TCP, UDP } from "./flow_rig_fixture.ts";
import { flowDropName } from "./mod.ts";
import { addressesOf, answerTo, assertChecksums, buildError, buildPacket } from "./sample_packets_fixture.ts";

Deno.test("two agents with the same inner addresses and ports both work, and neither end notices", () => {
  for (const sample of KINDS) {
    const rig = new Rig();
    rig.up(A, buildPacket(sample));
    for (let round = 0; round < 2; round++) {
      const seen = buildPacket(sample);
      assert(rig.up(B, seen) >= 0);
      assertNotEquals(addressesOf(seen).source, addressesOf(buildPacket(sample)).source);
      assertChecksums(seen);
      const answer = answerAsSeen(seen, sample);
      assertChecksums(answer);
      assertEquals(rig.answer(C1, answer), B);
      assertEquals(answer, buildPacket(answerTo(sample)));
    }
    assertEquals(rig.answer(C1, buildPacket(answerTo(sample))), A);
    assertEquals(rig.flows.counters.rewritten, 1);
  }
});

Deno.test("our own addresses come from 100.64.0.0/10 and fd70:6f73:7465:726e::/64", () => {
  const rig = new Rig();
  for (const sample of [UDP, { ...UDP, family: 6 as const }]) {
    rig.up(A, buildPacket(sample));
    const seen = buildPacket(sample);
    rig.up(B, seen);
    const { source } = addressesOf(seen);
    if (source.length === 4) assert(source[0] === 100 && ((source[1] ?? 0) & 0xc0) === 64);
    else assertEquals([...source.subarray(0, 8)], [0xfd, 0x70, 0x6f, 0x73, 0x74, 0x65, 0x72, 0x6e]);
  }
});

Deno.test("a UDP packet without checksum stays without one", () => {
  const rig = new Rig();
  const sample = { ...UDP, noChecksum: true };
  rig.up(A, buildPacket(sample));
  const seen = buildPacket(sample);
  rig.up(B, seen);
  assertEquals([...seen.subarray(26, 28)], [0, 0]);
  assertChecksums(seen);
});

Deno.test("a UDP checksum that comes out as zero is sent as all ones", () => {
  const rig = new Rig();
  rig.up(A, buildPacket(UDP));
  let allOnes = 0;
  for (let value = 0; value < 0x10000; value++) {
    const seen = buildPacket({ ...UDP, payload: Uint8Array.of(value >> 8, value & 255) });
    rig.up(B, seen);
    assert(seen[26] !== 0 || seen[27] !== 0);
    if (seen[26] === 0xff && seen[27] === 0xff) allOnes++;
  }
  assertEquals(allOnes, 1);
});

Deno.test("rewriting keeps every checksum right, whatever the payload", () => {
  fc.assert(fc.property(
    fc.constantFrom(...KINDS),
    fc.uint8Array({ maxLength: 64 }),
    fc.integer({ min: 0, max: 0xffff }),
    (kind, payload, sourcePort) => {
      const sample = { ...kind, payload, sourcePort };
      const rig = new Rig();
      rig.up(A, buildPacket(sample));
      const seen = buildPacket(sample);
      const slot = rig.up(B, seen);
      assertChecksums(seen);
      const answer = answerAsSeen(seen, sample);
      assertEquals(rig.answer(C1, answer), B);
      assertChecksums(answer);
      rig.up(B, buildPacket(sample));
      rig.flows.restore(slot, "agent", seen, 0, seen.length);
      assertEquals(seen, buildPacket(sample));
    },
  ));
});

Deno.test("a packet is given its own addresses back for an answer to its sender", () => {
  const rig = new Rig();
  rig.up(A, buildPacket(TCP));
  const seen = buildPacket(TCP);
  const slot = rig.up(B, seen);
  const kept = seen.slice();
  rig.flows.restore(slot, "agent", seen, 0, seen.length);
  assertEquals(seen, buildPacket(TCP));
  const answer = answerAsSeen(kept, TCP);
  const asSent = answer.slice();
  assertEquals(rig.down(C1, answer), slot);
  assertNotEquals(answer, asSent);
  rig.flows.restore(slot, "connector", answer, 0, answer.length);
  assertEquals(answer, asSent);
});

Deno.test("ICMP errors about a flow reach its other end, quoting what that end sent", () => {
  for (const sample of KINDS) {
    for (const quotedBytes of [undefined, sample.family === 6 ? 48 : 28]) {
      const rig = new Rig();
      rig.up(A, buildPacket(sample));
      const sent = buildPacket(sample);
      const seen = sent.slice();
      const slot = rig.up(B, seen);

      const error = buildError(seen, quotedBytes);
      assertEquals(rig.down(C1, error), slot);
      assertChecksums(error);
      assertEquals(
        error.subarray(error.length - (quotedBytes ?? seen.length)),
        buildError(sent, quotedBytes).subarray(-(quotedBytes ?? seen.length)),
      );
      assertEquals(addressesOf(error).destination, addressesOf(sent).source);

      const answer = buildPacket(answerTo(sample));
      const back = buildError(answer, quotedBytes);
      assertEquals(rig.up(B, back), slot);
      assertChecksums(back);
      assertEquals(addressesOf(back).source, addressesOf(seen).source);
      const quoted = back.subarray(back.length - (quotedBytes ?? answer.length));
      assertEquals(addressesOf(quoted).destination, addressesOf(seen).source);
    }
  }
});

Deno.test("an ICMP error from a router on the connector's side reaches the agent", () => {
  const rig = new Rig();
  rig.up(A, buildPacket(UDP));
  assertEquals(rig.answer(C1, buildError(buildPacket(UDP), 28, Uint8Array.of(10, 9, 8, 7))), A);
});

Deno.test("ICMP errors about nothing, about others, or inside one another are dropped", () => {
  const rig = new Rig();
  const sent = buildPacket(UDP);
  rig.up(A, sent);
  assertEquals(rig.answer(C1, buildError(buildPacket({ ...UDP, sourcePort: 1 }))), "unknownFlow");
  assertEquals(flowDropName(rig.up(B, buildError(buildPacket(answerTo(UDP))))), "unknownFlow");
  assertEquals(rig.answer(C1, buildError(buildError(sent))), "icmpType");
  const misdirected = buildError(sent);
  misdirected[19] = 77;
  assertEquals(rig.answer(C1, misdirected), "icmpMismatch");
  const spoofed = buildError(buildPacket(answerTo(UDP)));
  spoofed[15] = 77;
  assertEquals(flowDropName(rig.up(A, spoofed)), "icmpMismatch");
  assertEquals(rig.answer(C1, buildError(sent, 27)), "badLength");
});
