/** Pinned keys against a real server: with its key every client works, with another none does, though its certificate verifies. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { Gateway } from "./gateway_fixture.ts";
import { runPostern } from "./processes_fixture.ts";

const OTHER = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
/** It looks at many things, on a machine that does others. */
const DOCTOR_MS = 180_000;

/** What `postern certs inspect` shows as the pin of a certificate. */
async function pinOf(cert: string, folder: string): Promise<string> {
  const { stdout, said } = await runPostern(["certs", "inspect", cert], folder);
  const pin = /sha256\/[A-Za-z0-9+/]{43}=/.exec(stdout)?.[0];
  assert(pin !== undefined, said);
  return pin;
}

Deno.test("pins: with the server's key among them agent, connector, probe and doctor get in", async () => {
  await using gateway = await Gateway.empty();
  const { pki, folder } = gateway;
  await gateway.startServer();
  const pin = await pinOf(pki.server.cert, folder);
  await gateway.startConnector({ web: 9 }, pki.connector, "--pin-sha256", OTHER, "--pin-sha256", pin);
  await gateway.startAgent(["web"], pki.agent, "--pin-sha256", pin.replace("sha256/", ""));
  const probed = await runPostern(["probe", ...gateway.uplinkFlags(pki.agent), "--pin-sha256", pin, "--wait", "1000"], folder);
  assertEquals(probed.code, 0, probed.said);
  const looked = await runPostern(["doctor", ...gateway.uplinkFlags(pki.agent), "--pin-sha256", pin], folder, {}, DOCTOR_MS);
  assertEquals(looked.code, 0, looked.stdout + looked.said);
});

Deno.test("pins: a trusted server with another key is refused by all of them, in words that say what came", async () => {
  await using gateway = await Gateway.empty();
  const { pki, folder } = gateway;
  const server = await gateway.startServer();
  const pin = await pinOf(pki.server.cert, folder);
  const flags = (files: typeof pki.agent) => [...gateway.uplinkFlags(files), "--pin-sha256", OTHER];
  const runs: Readonly<Record<string, readonly string[]>> = {
    agent: ["agent", "--forward", "0=web", ...flags(pki.agent)],
    connector: ["connector", "--service", "web=127.0.0.1:9", "--health", "off", ...flags(pki.connector)],
    connect: ["agent", "connect", "web", ...flags(pki.agent)],
    probe: ["probe", "--wait", "1000", ...flags(pki.agent)],
    doctor: ["doctor", ...flags(pki.agent)],
  };
  for (const [name, args] of Object.entries(runs)) {
    const ran = await runPostern(args, folder, {}, DOCTOR_MS);
    // What the doctor finds is its result.
    const said = name === "doctor" ? ran.stdout : ran.said;
    assertEquals(ran.code, 1, `${name}: ${said}`);
    assertStringIncludes(said, `expected a certificate with the key sha256/${OTHER}, it has ${pin}`, name);
    assertStringIncludes(said, "postern certs inspect", name);
  }
  // The authority's key is not the server's, though it is in the chain.
  const authority = await pinOf(pki.caCert, folder);
  const { code, said } = await runPostern([...runs["probe"] ?? [], "--pin-sha256", authority], folder);
  assertEquals(code, 1, said);
  assertEquals(server.linesOf("registered").length, 0);
});

Deno.test("pins: what is none is refused at the start, and so is a pin for a server that nobody verifies", async () => {
  await using gateway = await Gateway.empty();
  const agent = ["agent", "--forward", "0=web", "--server", "127.0.0.1:9"];
  const wrong = await runPostern([...agent, "--pin-sha256", "sha256/short="], gateway.folder);
  assertEquals([wrong.code, wrong.said.includes("must be the SHA-256 of a public key")], [2, true], wrong.said);
  const blind = await runPostern([...agent, "--no-verify-peer", "--pin-sha256", OTHER], gateway.folder);
  assertEquals([blind.code, blind.said.includes("needs the verification of the server")], [2, true], blind.said);
});
