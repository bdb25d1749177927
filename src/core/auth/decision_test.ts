/** Who may do what: every way to a yes, and that everything else is a no. */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { authorize, formatDenyReason, type Identity, identityFrom, identityFromToken, STRICT_AUTHORIZATION } from "./mod.ts";

function holder(...dnsNames: string[]): Identity {
  const result = identityFrom({ commonName: "c", issuer: "CN=CA", serial: "1", dnsNames, notAfterMs: 0, fingerprint: "" });
  assert(result.kind === "identity");
  return result;
}

const LEGACY = { ...STRICT_AUTHORIZATION, allowLegacyCerts: true };
const ANONYMOUS = { ...STRICT_AUTHORIZATION, anonymous: new Set(["agent:web"]) };

Deno.test("an exact name allows, and the answer names it", () => {
  assertEquals(authorize(holder("agent.web.ztna"), "agent", "web", STRICT_AUTHORIZATION), {
    allowed: true,
    by: "exact",
    name: "agent.web.ztna",
  });
});

Deno.test("a wildcard allows any service of its role", () => {
  assertEquals(authorize(holder("agent.*.ztna"), "agent", "anything.at-all", STRICT_AUTHORIZATION), {
    allowed: true,
    by: "wildcard",
    name: "agent.*.ztna",
  });
  assertEquals(authorize(holder("agent.*.ztna"), "connector", "web", STRICT_AUTHORIZATION).allowed, false);
});

Deno.test("the exact name is found before the wildcard", () => {
  const decision = authorize(holder("connector.*.ztna", "connector.web.ztna"), "connector", "web", STRICT_AUTHORIZATION);
  assertEquals(decision, { allowed: true, by: "exact", name: "connector.web.ztna" });
});

Deno.test("the service is compared without regard to ASCII case", () => {
  assertEquals(authorize(holder("agent.WebApp.ztna"), "agent", "wEBaPP", STRICT_AUTHORIZATION).allowed, true);
  assertEquals(authorize(holder("agent.key.ztna"), "agent", "\u212aey", STRICT_AUTHORIZATION).allowed, false);
});

Deno.test("another service, another role and a longer name are denied", () => {
  const agent = holder("agent.web.ztna");
  assertEquals(authorize(agent, "agent", "db", STRICT_AUTHORIZATION), { allowed: false, why: "not-named" });
  assertEquals(authorize(agent, "connector", "web", STRICT_AUTHORIZATION), { allowed: false, why: "not-named" });
  for (const service of ["web.eu", "we", "*", " web", "web\0"]) {
    assertEquals(authorize(agent, "agent", service, STRICT_AUTHORIZATION).allowed, false, service);
  }
});

Deno.test("an empty set denies", () => {
  assertEquals(authorize(holder("agent..ztna"), "agent", "web", STRICT_AUTHORIZATION), { allowed: false, why: "not-named" });
  assertEquals(authorize(holder(), "agent", "web", STRICT_AUTHORIZATION), { allowed: false, why: "no-ztna-name" });
});

Deno.test("an empty service is denied even to a wildcard and a legacy certificate", () => {
  assertEquals(authorize(holder("agent.*.ztna"), "agent", "", STRICT_AUTHORIZATION).allowed, false);
  assertEquals(authorize(holder(), "agent", "", LEGACY).allowed, false);
});

Deno.test("a legacy certificate allows only with the flag", () => {
  assertEquals(authorize(holder("example.com"), "agent", "web", LEGACY), { allowed: true, by: "legacy-certificate", name: "" });
});

Deno.test("the legacy flag does not widen a certificate that has any ZTNA name", () => {
  for (const name of ["agent.db.ztna", "agent..ztna", "admin.x.ztna", "myservice.ztna"]) {
    assertEquals(authorize(holder(name), "agent", "web", LEGACY), { allowed: false, why: "not-named" }, name);
  }
});

Deno.test("the names of an unverified certificate authorise nothing, with every flag", () => {
  assertEquals(authorize(null, "agent", "web", STRICT_AUTHORIZATION), { allowed: false, why: "no-identity" });
  assertEquals(authorize(null, "agent", "web", LEGACY), { allowed: false, why: "no-identity" });
});

Deno.test("an anonymous client may use exactly what is listed", () => {
  assertEquals(authorize(null, "agent", "web", ANONYMOUS), { allowed: true, by: "anonymous", name: "" });
  for (const [role, service] of [["connector", "web"], ["agent", "Web"], ["agent", "db"]] as const) {
    assertEquals(authorize(null, role, service, ANONYMOUS).allowed, false, `${role}:${service}`);
  }
});

Deno.test("the anonymous list does not widen a client that presented a certificate", () => {
  assertEquals(authorize(holder("agent.db.ztna"), "agent", "web", ANONYMOUS).allowed, false);
  assertEquals(authorize(holder(), "agent", "web", ANONYMOUS).allowed, false);
});

Deno.test("a token allows its claims and is never a legacy certificate", () => {
  const token = identityFromToken({ role: "connector", services: ["web"], expiresSeconds: 1, holder: "ab" });
  assertEquals(authorize(token, "connector", "web", STRICT_AUTHORIZATION).allowed, true);
  assertEquals(authorize(token, "connector", "db", LEGACY).allowed, false);
});

Deno.test("whatever the names, strict authorisation allows only what one of them says", () => {
  const label = fc.constantFrom("agent", "connector", "admin", "web", "db", "*", "", "WEB");
  const name = fc.array(label, { minLength: 1, maxLength: 3 }).map((parts) => `${parts.join(".")}.ztna`);
  fc.assert(fc.property(
    fc.array(name, { maxLength: 4 }),
    fc.constantFrom("agent", "connector"),
    fc.constantFrom("web", "db", "WEB", "web.db", ""),
    (names, role, service) => {
      const lower = names.map((text) => text.toLowerCase());
      const expected = service !== "" &&
        (lower.includes(`${role}.${service.toLowerCase()}.ztna`) || lower.includes(`${role}.*.ztna`));
      assertEquals(authorize(holder(...names), role, service, STRICT_AUTHORIZATION).allowed, expected);
    },
  ));
});

Deno.test("every reason has words", () => {
  for (const why of ["no-identity", "no-ztna-name", "not-named"] as const) assert(formatDenyReason(why).length > 10);
});
