/** Roles whose files lie in a volume of Kubernetes: what comes by the swap of one link is read anew, without a signal. */
import { assert, assertEquals } from "@std/assert";
import { join } from "node:path";
import { needing } from "../../tools/needs.ts";
import { Gateway } from "./gateway_fixture.ts";
import type { CertificateFiles } from "./pki_fixture.ts";
import { BINARY, RoleProcess, runPostern } from "./processes_fixture.ts";
import { assertArrived, Backend, echo, MARK, readToEnd, writeAll } from "./tcp_fixture.ts";
import { Volume, type VolumeFiles } from "./volume_fixture.ts";

/** Whom pods run as. */
const UID = 65532;

/** A row; the test runner cannot tell the reading of a process's log from a leak. */
function row(behaviour: string, fn: () => Promise<void>, needs: Parameters<typeof needing>[0] = {}): void {
  Deno.test({ ...needing(needs, behaviour, fn), sanitizeOps: false, sanitizeResources: false });
}

/** A Secret of the type that Kubernetes has for certificates. */
function secretOf({ cert, key }: CertificateFiles): VolumeFiles {
  return { "tls.crt": Deno.readTextFileSync(cert), "tls.key": Deno.readTextFileSync(key) };
}

const after = (role: RoleProcess) => ({ from: role.lines.length });

row("a certificate that comes by the swap of ..data is shown to who comes next; a damaged one is not", async () => {
  await using backend = new Backend(echo);
  await using gateway = await Gateway.empty();
  const { pki, folder } = gateway;
  const volume = new Volume(join(folder, "tls"), secretOf(pki.server));
  const files = ["--cert", volume.file("tls.crt"), "--key", volume.file("tls.key")];
  const server = await gateway.startServer(...files);
  const offers = new Volume(join(folder, "connector-tls"), secretOf(pki.connector));
  const connectorFiles = { cert: offers.file("tls.crt"), key: offers.file("tls.key") };
  const connector = await gateway.startConnector({ web: backend.port }, connectorFiles);
  const agent = await gateway.startAgent(["web"], pki.agent);
  using connection = await gateway.connect("web");

  const renewed = await pki.issue("renewed", { dns: ["renewed.example"], eku: ["serverAuth"] });
  const damaged = after(server);
  volume.replace({ ...secretOf(renewed), "tls.key": "damaged" });
  await server.until("reload-failed", {}, damaged);
  const good = after(server);
  volume.replace(secretOf(renewed));
  await server.until("reloaded", {}, good);
  // Only the new certificate has this name; who was connected stays.
  const named = ["agent", "--forward", "127.0.0.1:0=web", "--server-name", "renewed.example", ...gateway.uplinkFlags(pki.agent)];
  await gateway.run(named).until("uplink-connected");

  const other = await pki.issue("connector-renewed", { dns: ["connector.web.ztna"], eku: ["clientAuth"] });
  const offered = after(connector);
  offers.replace(secretOf(other));
  await connector.until("reloaded", {}, offered);
  await writeAll(connection, MARK);
  await connection.closeWrite();
  assertArrived(await readToEnd(connection), MARK);
  assertEquals(agent.linesOf("uplink-lost").length, 0);
});

const ROOT_NEEDS = { root: true, tools: ["setpriv"], files: ["dist/postern"] };

row(
  "as in a pod: another user, root's key that its group may read, a shared folder for the socket, and health says so",
  async () => {
    await using gateway = await Gateway.empty();
    const { pki, folder } = gateway;
    Deno.chmodSync(folder, 0o755);
    const binary = join(folder, "postern"), run = join(folder, "run");
    Deno.copyFileSync(BINARY, binary);
    Deno.mkdirSync(run);
    Deno.chmodSync(run, 0o2777);
    const trust = new Volume(join(folder, "trust"), { "ca.crt": Deno.readTextFileSync(pki.caCert) }, { gid: UID, mode: 0o444 });
    const user = ["setpriv", `--reuid=${UID}`, `--regid=${UID}`, "--clear-groups", "--bounding-set=-all"];
    const wrapper = [...user, "sh", "-c", 'shift; exec "$0" "$@"', binary];
    const start = (name: string, mode: number) => {
      const volume = new Volume(join(folder, name), secretOf(pki.server), { gid: UID, mode });
      const files = ["--cert", volume.file("tls.crt"), "--key", volume.file("tls.key"), "--ca-cert", trust.file("ca.crt")];
      return new RoleProcess(["server", "--bind", "127.0.0.1:0", ...files], folder, { XDG_RUNTIME_DIR: run }, wrapper);
    };
    const warnings = (server: RoleProcess) => server.linesOf("settings-warning").filter(({ msg }) => msg.includes("by others"));
    {
      await using server = start("handed", 0o440);
      await server.until("ready");
      assertEquals(warnings(server), []);
      for (const words of [["health"], ["health", "live"]]) {
        const { code, stdout } = await runPostern(words, folder, { XDG_RUNTIME_DIR: run });
        assertEquals(code, 0, stdout);
      }
      assertEquals((Deno.statSync(join(run, "postern")).mode ?? 0) & 0o777, 0o700);
    }
    await using open = start("open", 0o444);
    await open.until("ready");
    assert(warnings(open).length === 1, open.tail());
  },
  ROOT_NEEDS,
);
