/** deploy/natlab/compose.yaml, read as it lies there, and by Docker's own reader where there is one. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import type { Manifest } from "./kustomize_fixture.ts";
import { ROOT, run } from "./unit_fixture.ts";

const FOLDER = join(ROOT, "deploy", "natlab");
const FILE = join(FOLDER, "compose.yaml");
const compose: Manifest = parse(Deno.readTextFileSync(FILE), { merge: true });
const services: readonly (readonly [string, Manifest])[] = Object.entries(compose.services);
const GATEWAYS = ["nat-agent", "nat-connector"];

Deno.test("only the two gateways have a capability, and nothing can be written but in memory", () => {
  assertEquals(services.filter(([, service]) => service.cap_add !== undefined).map(([name]) => name), GATEWAYS);
  for (const [name, service] of services) {
    assertEquals(service.cap_drop, ["ALL"], name);
    assertEquals(service.read_only, true, name);
    assertEquals(service.security_opt, ["no-new-privileges:true"], name);
    assertEquals([service.privileged, service.network_mode === "host"], [undefined, false], name);
    if (GATEWAYS.includes(name)) assertEquals(service.cap_add, ["NET_ADMIN", "NET_RAW"]);
    else assertEquals(service.user, "65532:65532", name);
    for (const volume of service.volumes ?? []) assert(String(volume).endsWith(":ro"), `${name}: ${volume}`);
  }
});

Deno.test("agent and connector have no way out but their gateway, and no port is open on the host", () => {
  const networksOf = (name: string) => Object.keys(compose.services[name].networks);
  assertEquals([networksOf("agent"), networksOf("connector")], [["agent-lan"], ["connector-lan"]]);
  assertEquals([compose.networks["agent-lan"].internal, compose.networks["connector-lan"].internal], [true, true]);
  for (const role of ["agent", "connector"]) {
    const gateway = compose.services[`nat-${role}`];
    assertEquals(Object.keys(gateway.networks), ["public", `${role}-lan`]);
    assertStringIncludes(compose.services[role].command.join(" "), `--server=${gateway.networks[`${role}-lan`].ipv4_address}:4433`);
    assertEquals(gateway.environment.SERVER_ADDRESS, compose.services.server.networks.public.ipv4_address);
  }
  for (const [name, service] of services) assertEquals(service.ports, undefined, name);
  const { context, dockerfile } = compose.services["nat-agent"].build;
  assert(existsSync(join(FOLDER, context, dockerfile)));
});

const binary = join(ROOT, "dist", "postern");
Deno.test({
  name: "the program takes the command line of each role",
  ignore: !existsSync(binary),
  fn: async () => {
    const folder = Deno.makeTempDirSync();
    try {
      assertEquals((await run(binary, ["certs", "init", join(folder, "pki"), "--service", "web"])).code, 0);
      for (const role of ["server", "agent", "connector"]) {
        const [, ...flags] = compose.services[role].command as string[];
        const words = flags.map((flag) => flag.replace("/pki/", `${folder}/pki/`));
        const { code, stdout, stderr } = await run(binary, ["config", "show", role, ...words]);
        assertEquals([code, stderr], [0, ""], role);
        assertStringIncludes(stdout, "/pki/ca-cert.pem");
      }
    } finally {
      Deno.removeSync(folder, { recursive: true });
    }
  },
});

const docker = await run("docker", ["compose", "version"]).catch(() => ({ code: 1 }));
Deno.test({
  name: `docker compose reads it${docker.code === 0 ? "" : " [needs docker compose]"}`,
  ignore: docker.code !== 0,
  fn: async () => {
    const { code, stdout, stderr } = await run("docker", ["compose", "--file", FILE, "config", "--quiet"]);
    assertEquals([code, stdout], [0, ""], stderr);
  },
});
