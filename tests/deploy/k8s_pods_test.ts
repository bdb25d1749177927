/** The pods of deploy/k8s, run as their manifests say: they find their files, pass their probes and reach each other by their names. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "node:path";
import { readManual } from "../../tools/manual_fixture.ts";
import { needing } from "../../tools/needs.ts";
import { makePki } from "../e2e/pki_fixture.ts";
import { TemporaryFolder } from "../e2e/processes_fixture.ts";
import { Namespace } from "../e2e/tun_fixture.ts";
import { Pod, POD_NEEDS } from "./pod_fixture.ts";

const NAMES = ["postern-server.ztna.svc", "gw.example.com", "web.default.svc"];

interface Pair {
  readonly cert: string;
  readonly key: string;
}

function secretOf({ cert, key }: Pair) {
  return { "tls.crt": Deno.readTextFileSync(cert), "tls.key": Deno.readTextFileSync(key) };
}

/** The manual's words for `postern certs init`, behind the folder. */
function wordsOfManual(): readonly string[] {
  const words = /^postern certs init certs (.*postern-server\.ztna\.svc.*)$/m.exec(readManual())?.[1];
  assert(words !== undefined, "the manual makes no set for a cluster");
  return words.split(" ");
}

/** The Secrets and the trust that the manual makes of the files in this folder. */
function sourcesOfManual(folder: string): Record<string, Record<string, string>> {
  const manual = readManual();
  const secrets = [...manual.matchAll(/^kubectl -n ztna create secret tls (\S+) --cert=(\S+) --key=(\S+)$/gm)]
    .map(([, name = "", cert = "", key = ""]) => [name, secretOf({ cert: join(folder, cert), key: join(folder, key) })]);
  const [, name = "", files = ""] = /^kubectl -n ztna create configmap (\S+) (.*)$/m.exec(manual) ?? [];
  const trust = [...files.matchAll(/--from-file=([^=]+)=(\S+)/g)]
    .map(([, key = "", file = ""]) => [key, Deno.readTextFileSync(join(folder, file))]);
  return Object.fromEntries([...secrets, [name, Object.fromEntries(trust)]]);
}

Deno.test({
  ...needing(
    POD_NEEDS,
    "server, connector and agent as pods with the manual's certificates: an agent's client gets a page, and a renewed Secret is taken",
    async () => {
      using temporary = new TemporaryFolder();
      const { path: folder } = temporary;
      // Pods' users must come to their volumes.
      Deno.chmodSync(folder, 0o755);
      const pki = await makePki(join(folder, "pki"), wordsOfManual());
      const names = { dns: NAMES.slice(0, 2), eku: ["serverAuth"] as const };
      const sources = sourcesOfManual(pki.folder);
      await using network = await Namespace.open();
      await network.run("ip", "link", "set", "lo", "up");
      const backend = network.command("python3", "-m", "http.server", "80", "--bind", "127.0.0.1", "--directory", pki.folder)
        .spawn();
      await using _backend = {
        [Symbol.asyncDispose]: async () => {
          backend.kill("SIGKILL");
          await backend.output();
        },
      };
      const world = { folder, network, sources, hosts: NAMES.map((name) => `127.0.0.1 ${name}\n`).join("") };
      await using server = new Pod("server", world);
      await server.role.until("ready");
      await using connector = new Pod("connector", world);
      await connector.role.until("registered", { service: "web" });
      await using agent = new Pod("agent", world);
      await agent.role.until("uplink-connected");
      const retries = ["--retry", "30", "--retry-all-errors", "--retry-delay", "1"];
      const page = await network.run("curl", "--silent", "--show-error", "--fail", ...retries, "http://127.0.0.1:9000/");
      assertStringIncludes(page, "ca-cert.pem");
      for (const pod of [server, connector, agent]) {
        for (const probe of ["startupProbe", "livenessProbe", "readinessProbe"] as const) {
          const { code, stdout, stderr } = await pod.probe(probe);
          assertEquals([code, stderr], [0, ""], `${probe}: ${stdout}`);
        }
        // Test certificates are short-lived, and said so.
        const warned = pod.role.lines.filter(({ event, msg }) => event === "privileges-kept" || msg.includes("by others"));
        assertEquals(warned, []);
      }
      const from = server.role.lines.length;
      server.volume("tls").replace(secretOf(await pki.issue("pod-server-renewed", names)));
      await server.role.until("reloaded", {}, { from });
      assertEquals((await server.probe("readinessProbe")).code, 0);
    },
  ),
  // The test runner cannot tell the reading of a process's log from a leak.
  sanitizeOps: false,
  sanitizeResources: false,
});
