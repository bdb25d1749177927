import { assertEquals } from "@std/assert";
import { serviceOfHost } from "./proxy_target.ts";

const RULES = { addresses: [{ service: "db", address: "10.100.0.9" }], allowLegacyServiceIds: false };

Deno.test("a service is reached by its name, its name in .ztna, or the address that the configuration gives it", () => {
  const reached: Readonly<Record<string, string>> = {
    "web": "web",
    "web.ztna": "web",
    "WEB.Ztna": "web",
    "web.ztna.": "web",
    "a.b.ztna": "a.b",
    "ztna": "ztna",
    "10.100.0.9": "db",
  };
  for (const [host, service] of Object.entries(reached)) assertEquals(serviceOfHost(host, RULES), service, host);
});

Deno.test("everything else is of the network outside", () => {
  const others = ["example.com", "web.example.com", "ztna.example.com", "10.100.0.1", "127.0.0.1", "::1", "localhost.localdomain"];
  const wrong = ["", ".", ".ztna", "-web", "web-", "we b", "web..ztna", "a/b", "webztna.com", "x".repeat(64), "пример.ztna"];
  for (const host of [...others, ...wrong]) assertEquals(serviceOfHost(host, RULES), null, host);
});

Deno.test("legacy ids are taken as they are written where they are allowed", () => {
  const legacy = { ...RULES, allowLegacyServiceIds: true };
  assertEquals(serviceOfHost("Über_Dienst.ztna", legacy), "Über_Dienst");
  assertEquals(serviceOfHost("Web.ztna", legacy), "web");
  assertEquals(serviceOfHost("example.com", legacy), null);
});
