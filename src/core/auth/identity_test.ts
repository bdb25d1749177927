/** What a certificate says about its holder. */
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import fc from "fast-check";
import {
  type CertificateFacts,
  formatZtnaName,
  type Identity,
  identityFrom,
  identityFromToken,
  normalizeSerial,
  parseZtnaName,
  unreadableCertificate,
  validityProblem,
} from "./mod.ts";

const FACTS: CertificateFacts = {
  commonName: "test-agent",
  issuer: "CN=ZTNA Test CA",
  serial: "00ab12",
  dnsNames: ["agent.web.ztna"],
  notAfterMs: 2_000,
  fingerprint: "aa".repeat(32),
};

function identity(changes: Partial<CertificateFacts> = {}): Identity {
  const result = identityFrom({ ...FACTS, ...changes });
  assert(result.kind === "identity");
  return result;
}

function authorizations(...dnsNames: string[]): string[] {
  return [...identity({ dnsNames }).authorizations];
}

Deno.test("a certificate without a common name has no identity", () => {
  const expected = { kind: "problem", code: "no-common-name", message: "certificate has no Common Name" } as const;
  assertEquals(identityFrom({ ...FACTS, commonName: null }), expected);
  assertEquals(identityFrom({ ...FACTS, commonName: "" }), expected);
});

Deno.test("a certificate that cannot be parsed is named in the problem", () => {
  assertEquals(unreadableCertificate("unexpected end").message, "certificate parse error: unexpected end");
});

Deno.test("the common name, issuer, fingerprint and expiry are kept", () => {
  const { commonName, issuer, serial, fingerprint, notAfterMs, source } = identity();
  assertEquals([commonName, issuer, serial, fingerprint, notAfterMs, source], [
    "test-agent",
    "CN=ZTNA Test CA",
    "ab12",
    "aa".repeat(32),
    2_000,
    "certificate",
  ]);
});

Deno.test("an agent name authorises the agent role for its service", () =>
  assertEquals(authorizations("agent.web.ztna"), ["agent:web"]));

Deno.test("a connector name authorises the connector role for its service", () => {
  assertEquals(authorizations("connector.web.ztna"), ["connector:web"]);
});

Deno.test("a wildcard agent name is kept as a wildcard", () => assertEquals(authorizations("agent.*.ztna"), ["agent:*"]));

Deno.test("a wildcard connector name is kept as a wildcard", () =>
  assertEquals(authorizations("connector.*.ztna"), ["connector:*"]));

Deno.test("several names authorise several services", () => {
  assertEquals(authorizations("agent.a.ztna", "connector.b.ztna", "agent.a.ztna"), ["agent:a", "connector:b"]);
});

Deno.test("a service may contain dots", () => assertEquals(authorizations("agent.db.eu.prod.ztna"), ["agent:db.eu.prod"]));

Deno.test("a service may itself end in .ztna", () => assertEquals(authorizations("agent.x.ztna.ztna"), ["agent:x.ztna"]));

Deno.test("names are folded to lower case", () => assertEquals(authorizations("Agent.WebApp.ZTNA"), ["agent:webapp"]));

Deno.test("agent..ztna has an empty service and is ignored", () => assertEquals(authorizations("agent..ztna"), []));

Deno.test("agent.ztna has no service and is ignored", () => assertEquals(authorizations("agent.ztna"), []));

Deno.test("myservice.ztna has no role and is ignored", () => assertEquals(authorizations("myservice.ztna"), []));

Deno.test("admin.x.ztna has an unknown role and is ignored", () => assertEquals(authorizations("admin.x.ztna"), []));

Deno.test("*.web.ztna is no role", () => assertEquals(authorizations("*.web.ztna"), []));

Deno.test("names outside .ztna are ignored", () => {
  assertEquals(authorizations("example.com", "agent.web.example.com", "agent.web.ztna.example.com", "agent.webztna"), []);
});

Deno.test("a name with a trailing dot, a space or a control character is ignored", () => {
  assertEquals(authorizations("agent.web.ztna.", "agent.we b.ztna", "agent.web.ztna\0", "agent.we\nb.ztna"), []);
});

Deno.test("letters that only Unicode folds to ASCII are not folded", () => {
  // U+212A KELVIN SIGN lower-cases to k, U+0130 to i with a combining dot.
  assertEquals(authorizations("agent.\u212aey.ztna", "agent.\u0130d.ztna"), []);
});

Deno.test("no names at all: no authorisation and no ZTNA name", () => {
  assertEquals([authorizations(), identity({ dnsNames: [] }).hasZtnaName], [[], false]);
});

Deno.test("an ignored .ztna name still makes the certificate a ZTNA one", () => {
  assertEquals(["agent..ztna", "myservice.ZTNA", "example.com"].map((name) => identity({ dnsNames: [name] }).hasZtnaName), [
    true,
    true,
    false,
  ]);
});

Deno.test("the same identity: issuer, common name and names, whatever their order and the certificate's age", () => {
  const one = identity({ dnsNames: ["agent.a.ztna", "agent.b.ztna"] });
  const renewed = identity({
    dnsNames: ["agent.b.ztna", "AGENT.a.ztna", "example.com"],
    serial: "ff",
    fingerprint: "bb",
    notAfterMs: 9,
  });
  assertEquals(one.key, renewed.key);
  for (const other of [{ issuer: "CN=Other" }, { commonName: "other" }, { dnsNames: ["agent.a.ztna"] }]) {
    assertNotEquals(identity({ dnsNames: ["agent.a.ztna", "agent.b.ztna"], ...other }).key, one.key);
  }
});

Deno.test("no choice of texts makes two identities collide", () => {
  const text = fc.string({ maxLength: 6, unit: fc.constantFrom('"', ",", "[", "]", "\\", "a", "\0") });
  fc.assert(fc.property(text, text, text, text, (issuer, commonName, issuer2, commonName2) => {
    fc.pre(commonName !== "" && commonName2 !== "");
    const same = identity({ issuer, commonName }).key === identity({ issuer: issuer2, commonName: commonName2 }).key;
    assertEquals(same, issuer === issuer2 && commonName === commonName2);
  }));
});

Deno.test("a name that is parsed is written back the same", () => {
  const service = fc.string({ minLength: 1, maxLength: 40, unit: fc.constantFrom(..."abz09-_.*") });
  fc.assert(fc.property(fc.constantFrom("agent", "connector"), service, (role, name) => {
    const san = `${role}.${name}.ztna`;
    const authorization = parseZtnaName(san);
    assertEquals(authorization, `${role}:${name}`);
    assertEquals(formatZtnaName(authorization ?? ""), san);
  }));
});

Deno.test("arbitrary names never authorise an empty service or an unknown role", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), (name) => {
    const authorization = parseZtnaName(`${name}.ztna`);
    assert(authorization === null || /^(agent|connector):./s.test(authorization));
  }));
});

Deno.test("a serial is compared without separators and leading zeros", () => {
  assertEquals(["00AB:12", "0xab12", " ab12", "0", ""].map(normalizeSerial), ["ab12", "ab12", "ab12", "0", "0"]);
});

Deno.test("an identity is valid up to and including its last millisecond", () => {
  assertEquals(validityProblem(identity(), 2_000), null);
  assertEquals(validityProblem(identity(), 2_001)?.message, "certificate expired");
});

Deno.test("a token's identity has exactly the claims and is named after its holder's key", () => {
  const token = identityFromToken({ role: "agent", services: ["Web", ""], expiresSeconds: 7, holder: "ab" });
  assertEquals([...token.authorizations], ["agent:web"]);
  assertEquals([token.commonName, token.notAfterMs, token.source, token.hasZtnaName], ["token:ab", 6999, "token", true]);
});
