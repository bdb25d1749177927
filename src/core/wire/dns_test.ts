/** DNS as other programs write and read it: a question of `dig`, and answers byte for byte. */
import { assert, assertEquals } from "@std/assert";
import { fromHex, toHex } from "../../base/mod.ts";
import { decodeDnsQuestion, DnsCode, type DnsQuestion, encodeDnsResponse } from "./dns.ts";

/** `dig Web.ZTNA`: recursion desired, and an OPT record behind the question. */
const ASKED = "1234012000010000000000010357656204" + "5a544e410000010001" + "00002904d0000000000000";

function question(hex: string): DnsQuestion {
  const bytes = fromHex(hex);
  assert(bytes !== null);
  const decoded = decodeDnsQuestion(bytes, 0, bytes.length);
  assert(decoded.kind === "question", JSON.stringify(decoded));
  return decoded;
}

function refusal(hex: string): string {
  const bytes = fromHex(hex) ?? new Uint8Array(0);
  const decoded = decodeDnsQuestion(bytes, 0, bytes.length);
  return decoded.kind === "malformed" ? decoded.why : decoded.name;
}

Deno.test("a question is read in lower case, and what follows it is left", () => {
  const asked = question(ASKED);
  assertEquals([asked.id, asked.name, asked.type, asked.isInternet, asked.isQuery, asked.endsAt], [
    0x1234,
    "web.ztna",
    1,
    true,
    true,
    26,
  ]);
});

Deno.test("an answer repeats the question as it was written and points to its name", () => {
  const bytes = new Uint8Array(600);
  bytes.set(fromHex(ASKED) ?? []);
  const length = encodeDnsResponse(bytes, 0, 100, question(ASKED), DnsCode.noError, [Uint8Array.of(10, 100, 0, 2)], 30);
  assertEquals(
    toHex(bytes.subarray(100, 100 + length)),
    "123485000001000100000000" + "0357656204" + "5a544e410000010001" + "c00c000100010000001e00040a640002",
  );
  const none = encodeDnsResponse(bytes, 0, 100, question(ASKED), DnsCode.nameError, [], 30);
  assertEquals(toHex(bytes.subarray(100, 100 + none)), "123485030001000000000000" + "0357656204" + "5a544e410000010001");
});

Deno.test("what is no single question is refused with a reason", () => {
  assertEquals(refusal("1234"), "truncated");
  assertEquals(refusal("123481000001000000000000" + "0000010001"), "unknown-code", "a response is never answered");
  assertEquals(refusal("123401000002000000000000" + "0000010001"), "out-of-range", "two questions");
  assertEquals(refusal("123401000001000000000000" + "c00c00010001"), "too-long", "a compressed name");
  assertEquals(refusal("123401000001000000000000" + "03776562"), "truncated");
  assertEquals(refusal("123401000001000000000000" + "0377656200" + "0001"), "truncated");
  assertEquals(refusal("123401000001000000000000" + "03772e6200" + "00010001"), "not-utf8", "a dot inside a label");
  assertEquals(refusal("123401000001000000000000" + ("3f" + "61".repeat(63)).repeat(4) + "0000010001"), "too-long");
  assertEquals(refusal("123401000001000000000000" + "0000010001"), "", "the root");
});
