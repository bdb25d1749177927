/** Serials that are refused, and that a list with one bad line is refused whole. */
import { assert, assertEquals } from "@std/assert";
import { DENY_LIST_ENTRIES_MAX, DenyList, type Identity, identityFrom, identityFromToken, parseDenyList } from "./mod.ts";

function holder(serial: string, issuer = "CN=CA"): Identity {
  const result = identityFrom({ commonName: "c", issuer, serial, dnsNames: [], notAfterMs: 0, fingerprint: "" });
  assert(result.kind === "identity");
  return result;
}

function list(text: string): DenyList {
  const parsed = parseDenyList(text);
  assert(parsed.kind === "entries");
  return new DenyList(parsed.entries);
}

Deno.test("a serial on the list is revoked, however it is written", () => {
  const denied = list("# lost laptop\n\n00:AB:12\r\n0x0ff\n");
  assertEquals(denied.problemOf(holder("ab12"))?.code, "revoked");
  assertEquals(denied.problemOf(holder("00ff"))?.message, "certificate revoked");
  assertEquals(denied.problemOf(holder("ab1")), null);
  assertEquals(denied.size, 2);
});

Deno.test("an entry with an issuer denies only that issuer's serial", () => {
  const denied = list("ab12  CN=Other CA,  O=X");
  assertEquals(denied.problemOf(holder("ab12")), null);
  assertEquals(denied.problemOf(holder("ab12", "CN=Other CA, O=X"))?.code, "revoked");
});

Deno.test("an empty list and a token are never revoked here", () => {
  assertEquals(new DenyList().problemOf(holder("1")), null);
  const token = identityFromToken({ role: "agent", services: ["web"], expiresSeconds: 1, holder: "ab" });
  assertEquals(list("0").problemOf(token), null);
});

Deno.test("one bad line refuses the list and is named", () => {
  for (const bad of ["xyz", "ab12;", "-5", "ab::12", "f".repeat(129)]) {
    assertEquals(
      parseDenyList(`ab12\n${bad}`),
      { kind: "malformed", line: 2, why: "expected a serial number in hexadecimal" },
      bad,
    );
  }
});

Deno.test("a list that is too long is refused", () => {
  assertEquals(parseDenyList("1\n".repeat(DENY_LIST_ENTRIES_MAX)).kind, "entries");
  assertEquals(parseDenyList("1\n".repeat(DENY_LIST_ENTRIES_MAX + 1)).kind, "malformed");
});

Deno.test("an authority above the certificate is denied by its issuer and serial, not by a serial alone", () => {
  const above = [{ issuer: "CN=Root CA", serial: "00:77" }];
  const by = (issuer: string | null) => new DenyList([{ serial: "77", issuer }]).problemOf(holder("1"), above)?.message;
  assertEquals(by("CN=Root CA"), "an authority of the certificate is revoked");
  assertEquals([by("CN=Other CA"), by(null)], [undefined, undefined]);
});
