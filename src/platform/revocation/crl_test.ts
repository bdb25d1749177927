import { assertEquals, assertThrows } from "@std/assert";
import { createAuthority, joinPem } from "../../../tests/pki/mod.ts";
import { readRevocationLists } from "./mod.ts";

const text = (content: string) => new TextEncoder().encode(content);

Deno.test("a list says who issued it, until when it counts, and which serials it names", async () => {
  const authority = await createAuthority({ commonName: "Crypt CA" });
  const revoked = [
    await authority.issue({ commonName: "a", serial: "0100ff" }),
    await authority.issue({ commonName: "b", serial: "7f00000000000000000000000000000000000001" }),
  ];
  const thisUpdate = new Date("2026-01-02T03:04:05Z"), nextUpdate = new Date("2051-06-07T08:09:10Z");
  const lists = readRevocationLists(await authority.crl({ revoked, thisUpdate, nextUpdate }));
  assertEquals(lists, [{
    issuer: "CN=Crypt CA",
    thisUpdateMs: thisUpdate.getTime(),
    nextUpdateMs: nextUpdate.getTime(),
    serials: ["100ff", "7f00000000000000000000000000000000000001"],
  }]);
});

Deno.test("several lists stand in one text, an empty one names nothing, other text is none", async () => {
  const [first, second] = [await createAuthority({ commonName: "One" }), await createAuthority({ commonName: "Two" })];
  const lists = readRevocationLists(joinPem(await first.crl(), first.certificatePem, await second.crl()));
  assertEquals(lists.map(({ issuer, serials }) => [issuer, serials]), [["CN=One", []], ["CN=Two", []]]);
  assertEquals(readRevocationLists(text("no list at all")), []);
});

Deno.test("a damaged list is an error, cut off anywhere", async () => {
  const authority = await createAuthority();
  const whole = new TextDecoder().decode(await authority.crl({ revoked: [await authority.issue()] }));
  const base64 = whole.split("\n").slice(1, -2).join("");
  const der = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const pem = (bytes: Uint8Array) =>
    text(`-----BEGIN X509 CRL-----\n${btoa(String.fromCharCode(...bytes))}\n-----END X509 CRL-----\n`);
  assertEquals(readRevocationLists(pem(der)).length, 1);
  for (let length = 1; length < der.length; length += 7) {
    assertThrows(() => readRevocationLists(pem(der.subarray(0, length))), RangeError, "CRL 1");
  }
  const tagged = der.slice();
  tagged[0] = 0x31;
  assertThrows(() => readRevocationLists(pem(tagged)), RangeError);
});

Deno.test("a serial number without a digit is an error", () => {
  const tlv = (tag: number, ...content: readonly number[]) => [tag, content.length, ...content];
  const time = tlv(0x17, ...text("260102030405Z"));
  const list = (...serial: readonly number[]) => {
    const der = tlv(0x30, ...tlv(0x30, ...tlv(0x30), ...tlv(0x30), ...time, ...tlv(0x30, ...tlv(0x30, ...tlv(0x02, ...serial)))));
    return text(`-----BEGIN X509 CRL-----\n${btoa(String.fromCharCode(...der))}\n-----END X509 CRL-----\n`);
  };
  assertEquals(readRevocationLists(list(0x01, 0xff))[0]?.serials, ["1ff"]);
  assertThrows(() => readRevocationLists(list()), RangeError, "a serial number without a digit");
});
