import { assertEquals } from "@std/assert";
import { AGENT, CONNECTOR, SERVER } from "../../config/mod.ts";
import { capabilitiesWanted, DEFAULT_FILES } from "./wanted.ts";

const wanted = (args: string[], environment: Record<string, string> = {}, files: Record<string, string> = {}) =>
  capabilitiesWanted(args, environment, (path) => files[path] ?? null);
const needs = (...said: Parameters<typeof wanted>) => wanted(...said).includes("net_bind_service");
const needsTun = (...said: Parameters<typeof wanted>) => wanted(...said).includes("net_admin");

Deno.test("a port below 1024 is seen wherever it may stand", () => {
  assertEquals(needs(["server", "--port", "443"]), true);
  assertEquals(needs(["server", "--port=443"]), true);
  assertEquals(needs(["server", "443", "cert.pem", "key.pem"]), true);
  assertEquals(needs(["server", "--bind", "[::]:853"]), true);
  assertEquals(needs(["server", "--bind", "192.0.2.1:53"]), true);
  assertEquals(needs(["agent", "--server", "gw", "--forward", "80=web"]), true);
  assertEquals(needs(["agent", "--forward", "[::1]:22=ssh"]), true);
  assertEquals(needs(["agent"], { POSTERN_FORWARD: "9000=web,80=web" }), true);
  assertEquals(needs(["server"], { POSTERN_PORT: "443" }), true);
  assertEquals(needs(["server", "--config", "s.json"], {}, { "s.json": '{ "port": 443 }' }), true);
  assertEquals(needs(["server"], { POSTERN_CONFIG: "s.yaml" }, { "s.yaml": 'bind:\n  - "0.0.0.0:443"\n' }), true);
  assertEquals(needs(["agent"], {}, { "/etc/postern/agent.yaml": "forward:\n  - 80=web\n" }), true);
  assertEquals(needs(["connector", "--metrics-port", "443"]), true);
});

Deno.test("nothing is kept for other numbers", () => {
  assertEquals(needs(["server", "--port", "4433", "--bind", "0.0.0.0"]), false);
  assertEquals(needs(["server", "--bind", "127.0.0.1:0", "--cid-rotation-secs", "300"]), false);
  assertEquals(needs(["server", "--bind", "[fe80::12]"]), false);
  assertEquals(needs(["agent", "--server", "10.0.0.1:4433", "--forward", "127.0.0.1:0=web"]), false);
  assertEquals(needs(["connector", "--service", "web=127.0.0.1:80"]), false);
  assertEquals(needs(["connector"], {}, { "./connector.json": '{ "services": [{ "backend": "10.0.0.1:80" }] }' }), false);
});

Deno.test("a TUN device is the agent's, by flag, variable or file", () => {
  assertEquals(needsTun(["agent", "--tun", "postern0"]), true);
  assertEquals(needsTun(["agent", "--tun=postern0", "--server", "gw"]), true);
  assertEquals(needsTun(["agent"], { POSTERN_TUN: "postern0" }), true);
  assertEquals(needsTun(["agent", "--config", "a.yaml"], {}, { "a.yaml": "server: gw\ntun: postern0\n" }), true);
  assertEquals(needsTun(["agent"], {}, { "/etc/postern/agent.json": '{"server":"gw","tun":"postern0"}' }), true);
  assertEquals(needsTun(["agent", "--server", "tun.example:4433", "--forward", "9000=tun"]), false);
  assertEquals(needsTun(["agent", "--config", "tun.yaml"], {}, { "tun.yaml": "tunnel: no\n" }), false);
  assertEquals(needsTun(["server", "--tun", "x"]), false);
});

Deno.test("the default files are those of the roles", () => {
  for (const { role, defaultFiles } of [SERVER, CONNECTOR, AGENT]) assertEquals(DEFAULT_FILES[role], defaultFiles);
});
