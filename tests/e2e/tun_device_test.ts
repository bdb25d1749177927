/** A TUN device of ours as the kernel sees it: addresses, routes and MTU, packets both ways, and nothing left of it afterwards. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join, resolve } from "node:path";
import { needing } from "../../tools/needs.ts";
import { linesOf } from "../../tools/test_output.ts";
import { Namespace } from "./tun_fixture.ts";

const ROOT = resolve(import.meta.dirname ?? ".", "..", "..");
const ECHO = join(ROOT, "tests", "e2e", "tun_echo.ts");
const NEEDS = { root: true, tools: ["unshare", "nsenter", "setpriv", "ip", "ping"], files: ["/dev/net/tun"] };

interface Echo {
  readonly process: Deno.ChildProcess;
  readonly said: Readonly<Record<string, string>>;
  end(): Promise<void>;
}

async function startEcho(host: Namespace, ...before: readonly string[]): Promise<Echo> {
  const [program = "", ...args] = [...before, Deno.execPath(), "run", "-A", "--no-check", "--quiet", ECHO];
  const process = host.command(program, ...args).spawn();
  const lines = linesOf(process.stdout);
  const said = JSON.parse((await lines.next()).value ?? "{}");
  return {
    process,
    said,
    end: async () => {
      try {
        process.kill("SIGKILL");
      } catch {
        // It ended by itself.
      }
      await process.status;
      await lines.return(undefined);
      await process.stderr.cancel();
    },
  };
}

Deno.test(
  needing(
    NEEDS,
    "a TUN device: the kernel sends what is routed to it, takes what it says, and forgets it when it is killed",
    async () => {
      await using host = await Namespace.open();
      const echo = await startEcho(host);
      try {
        assertEquals(echo.said["name"], "post0");
        const link = await host.run("ip", "-json", "addr", "show", "post0");
        const [device] = JSON.parse(link) as { mtu: number; addr_info: { local: string; prefixlen: number; scope: string }[] }[];
        const own = device?.addr_info.filter(({ scope }) => scope === "global").map(({ local, prefixlen }) =>
          `${local}/${prefixlen}`
        );
        assertEquals([device?.mtu, own], [1300, ["100.64.0.1/32", "fd00::1/128"]]);
        assertStringIncludes(await host.run("ip", "route", "get", "10.100.0.77"), "dev post0 src 100.64.0.1");
        assertStringIncludes(await host.run("ip", "route", "get", "100.64.0.53"), "dev post0 src 100.64.0.1");
        for (const to of ["10.100.0.77", "100.64.0.53", "fd00:1::2"]) {
          assertStringIncludes(await host.run("ping", "-c", "2", "-i", "0.2", "-W", "5", to), " 0% packet loss", to);
        }
        assertStringIncludes(await host.run("ping", "-c", "1", "-W", "5", "-s", "1200", "10.100.0.77"), " 0% packet loss");
      } finally {
        await echo.end();
      }
      assertEquals(JSON.parse(await host.run("ip", "-json", "link")).map(({ ifname }: { ifname: string }) => ifname), ["lo"]);
      assertEquals((await host.run("ip", "route")).trim(), "");
    },
  ),
);

Deno.test(needing(NEEDS, "a TUN device without the capability: what is missing, and nothing made", async () => {
  await using host = await Namespace.open();
  const echo = await startEcho(host, "setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin");
  try {
    assert(
      /cannot (open \/dev\/net\/tun|make the network interface post%d): operation not permitted/.test(echo.said["error"] ?? ""),
      echo.said["error"],
    );
  } finally {
    await echo.end();
  }
  assertEquals(JSON.parse(await host.run("ip", "-json", "link")).length, 1);
}));
