/**
 * The names of services with a real systemd-resolved: it is told where to ask, for the device alone, and forgets it with the device,
 * however the agent ends. Resolver and bus run in a namespace of their own.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { linesOf } from "../../tools/test_output.ts";
import { needing } from "../../tools/needs.ts";
import { Gateway } from "./gateway_fixture.ts";
import { RoleProcess } from "./processes_fixture.ts";
import { sleep } from "./tcp_fixture.ts";

const RESOLVED = "/lib/systemd/systemd-resolved";
const NEEDS = {
  root: true,
  tools: ["unshare", "nsenter", "mount", "ip", "dbus-daemon", "resolvectl"],
  files: [RESOLVED, "/dev/net/tun", "dist/postern"],
};
const PATIENCE_MS = 30_000;

/** Everybody may do everything on this bus, which nobody else sees. */
const BUS = `<busconfig><type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/></policy></busconfig>`;
/** Its user is not there on every machine. `cat` ends with the test, and everything with it. */
const SETUP = `set -e
mount --make-rprivate /
ip link set lo up
for file in passwd group; do cp /etc/$file "$1/$file"; done
echo 'systemd-resolve:x:996:996::/:/usr/sbin/nologin' >> "$1/passwd"
echo 'systemd-resolve:x:996:' >> "$1/group"
for file in passwd group; do mount --bind "$1/$file" /etc/$file; done
for folder in systemd dbus; do mkdir -p /run/$folder; mount -t tmpfs none /run/$folder; done
mkdir -p /run/systemd/resolve /run/systemd/system
chown 996:996 /run/systemd/resolve
dbus-daemon --config-file="$1/bus.conf" --nofork --nopidfile < /dev/null > "$1/bus.log" 2>&1 & bus=$!
until test -S /run/dbus/system_bus_socket; do sleep 0.1; done
${RESOLVED} < /dev/null > "$1/resolved.log" 2>&1 & resolved=$!
until resolvectl status > /dev/null 2>&1; do kill -0 $resolved; sleep 0.1; done
echo ready
cat > /dev/null
kill $resolved $bus`;

Deno.test(
  needing(
    NEEDS,
    "systemd-resolved asks the agent about services while the device is there, and forgets it after kill -9 too",
    async () => {
      await using gateway = await Gateway.empty();
      const { folder } = gateway;
      Deno.writeTextFileSync(`${folder}/bus.conf`, BUS);
      const before = Deno.readTextFileSync("/etc/resolv.conf");
      const holder = new Deno.Command("unshare", {
        args: ["--mount", "--net", "sh", "-c", SETUP, "sh", folder],
        stdin: "piped",
        stdout: "piped",
        stderr: "inherit",
      }).spawn();
      try {
        const lines = linesOf(holder.stdout);
        assertEquals((await lines.next()).value, "ready");
        const inside = ["nsenter", "--target", `${holder.pid}`, "--mount", "--net"];
        const ask = async (...words: string[]) => {
          const [program = "", ...args] = [...inside, "resolvectl", "--no-pager", ...words];
          return new TextDecoder().decode((await new Deno.Command(program, { args, stderr: "null" }).output()).stdout);
        };
        for (const signal of ["SIGTERM", "SIGKILL"] as const) {
          const args = ["agent", "--tun", "post0", "--forward", "127.0.0.1:0=web", "--server", "127.0.0.1:9", "--no-verify-peer"];
          await using agent = new RoleProcess(args, folder, { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" }, inside);
          await agent.until("tun-names-set", { link: "post0" });
          assertStringIncludes(await ask("dns", "post0"), "100.64.0.53");
          assertStringIncludes(await ask("domain", "post0"), "~ztna");
          assertStringIncludes(await ask("query", "--type=A", "web.ztna"), "10.100.0.1");
          Deno.kill(agent.pid, signal);
          const isThere = async () => (await ask("status")).includes("post0");
          for (let waitedMs = 0; await isThere() && waitedMs < PATIENCE_MS; waitedMs += 200) await sleep(200);
          assert(!await isThere(), "it is still asked");
        }
        assertEquals(Deno.readTextFileSync("/etc/resolv.conf"), before);
      } finally {
        await holder.stdin.close();
        await holder.status;
      }
    },
  ),
);
