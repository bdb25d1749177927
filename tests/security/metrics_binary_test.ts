/** The metrics listener of the program itself: where its files come from, what it says at the start, and that nothing partial runs. */
import { join } from "node:path";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { Gateway } from "../e2e/gateway_fixture.ts";
import { runPostern } from "../e2e/processes_fixture.ts";

const NAMES = ["cert", "key", "ca"] as const;
const FILES = { cert: "server.crt", key: "server.key", ca: "ca.crt" } as const;

interface Given {
  readonly flags: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** A server that needs only the metrics settings, and the three files as flags and as variables. */
async function withServer(
  use: (gateway: Gateway, base: readonly string[], path: (name: typeof NAMES[number]) => string) => Promise<void>,
) {
  await using gateway = await Gateway.empty();
  const { server, caCert, folder } = gateway.pki;
  const base = ["server", "--bind", "127.0.0.1:0", "--cert", server.cert, "--key", server.key, "--ca-cert", caCert];
  await use(gateway, base, (name) => join(folder, "metrics", FILES[name]));
}

Deno.test("variables alone are enough, flags win over them, and the start says all of it in its own words", async () => {
  await withServer(async (gateway, base, path) => {
    const env = Object.fromEntries(NAMES.map((name) => [`POSTERN_METRICS_${name.toUpperCase()}`, path(name)]));
    const cases: Given[] = [
      { flags: [], env: { ...env, POSTERN_METRICS_ADDR: "[::1]:0" } },
      {
        flags: ["--metrics-addr", "[::1]:0", "--metrics-cert", path("cert")],
        env: { ...env, POSTERN_METRICS_CERT: "/nonexistent" },
      },
    ];
    for (const { flags, env } of cases) {
      await using role = gateway.run([...base, ...flags], env);
      await role.until("ready");
      const said = role.linesOf("metrics-listening").map(({ msg }) => msg);
      const port = Number(/\[::1\]:(\d+)/.exec(said[1] ?? "")?.[1]);
      assertEquals(said, [
        "Metrics server configured with mandatory mTLS",
        `Listening on IPv6 [::1]:${port} (client certificate required)`,
        "Using certificates:",
        `  Server cert: ${path("cert")}`,
        `  Server key:  ${path("key")}`,
        `  CA cert:     ${path("ca")} (for client verification)`,
      ]);
      assertEquals(listenersOn(port), ["00000000000000000000000001000000"]);
      await role.stop();
    }
  });
});

Deno.test("each of the three that is missing, damaged or not given ends the start with its name and with nothing bound", async () => {
  await withServer(async (gateway, base, path) => {
    const broken = join(gateway.folder, "broken.pem");
    Deno.writeTextFileSync(broken, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    const flagsWith = (name: string, file: string | null) =>
      NAMES.flatMap((one) => one !== name ? [`--metrics-${one}`, path(one)] : file === null ? [] : [`--metrics-${one}`, file]);
    const cases: [string, string | null, string][] = NAMES.flatMap((name) => [
      [name, "/nonexistent/file.pem", "/nonexistent/file.pem"],
      [name, gateway.folder, gateway.folder],
      [name, broken, broken],
      // One that is not given is looked for at its default place.
      [name, null, `/etc/postern/metrics/${FILES[name]}`],
    ]);
    for (const [name, file, words] of cases) {
      const end = await runPostern([...base, "--metrics-addr", "[::1]:0", ...flagsWith(name, file)], gateway.folder);
      assertEquals(end.code, 1, `${name} ${file}: ${end.said}`);
      assertStringIncludes(end.said, words);
      if (name === "ca" && file === "/nonexistent/file.pem") assertStringIncludes(end.said, "mutual TLS is mandatory");
      assert(end.lines.every(({ event }) => event !== "ready" && event !== "metrics-listening"), `${name} ${file}`);
    }
  });
});

/** The local addresses of TCP listeners on a port, as /proc/net/tcp and tcp6 have them. */
function listenersOn(port: number): string[] {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  return ["tcp", "tcp6"].flatMap((table) => {
    const lines = Deno.readTextFileSync(`/proc/net/${table}`).split("\n").slice(1);
    return lines.flatMap((line) => {
      const [, local = "", , state] = line.trim().split(/\s+/);
      const [address = "", at] = local.split(":");
      return state === "0A" && at === hex ? [address] : [];
    });
  });
}
