/** A private key that lies in no file: handed over in a descriptor, and gone from it once it was read. */
import { assertEquals } from "@std/assert";
import { needing } from "../../tools/needs.ts";
import { Gateway } from "./gateway_fixture.ts";
import { RoleProcess } from "./processes_fixture.ts";

/** It looks at many things, on a machine that does others. */
const DOCTOR_MS = 180_000;

Deno.test(
  needing(
    { tools: ["bash"] },
    "a key that comes in a descriptor lets its holder in; what reads it anew keeps the old one",
    async () => {
      await using gateway = await Gateway.empty();
      const { pki, folder } = gateway;
      // The shell becomes the role, with the end of a pipe as its descriptor 9.
      const role = (key: string, ...args: readonly string[]) =>
        new RoleProcess(args, folder, {}, ["bash", "-c", `exec "$@" 9< <(cat '${key}')`, "bash"]);
      const own = ["--bind", "127.0.0.1:0", "--cert", pki.server.cert, "--key", "/dev/fd/9", "--ca-cert", pki.caCert];
      await using server = role(pki.server.key, "server", ...own);
      const [port] = await server.ports();
      const uplink = ["--server", `127.0.0.1:${port}`, "--server-name", "ztna-server", "--ca-cert", pki.caCert];
      const identity = ["--client-cert", pki.agent.cert, "--client-key", "/dev/fd/9"];
      await using agent = role(pki.agent.key, "agent", "--forward", "127.0.0.1:0=web", ...uplink, ...identity);
      await agent.until("uplink-connected");
      await using doctor = role(pki.agent.key, "doctor", ...uplink, ...identity);
      const looked = await doctor.end(DOCTOR_MS);
      assertEquals(looked.code, 0, looked.stdout + looked.said);
      assertEquals(agent.linesOf("settings-warning"), []);
      // A pipe is read once: a reload finds nothing there, says so, and changes nothing.
      agent.signal("SIGHUP");
      await agent.until("reload-failed");
      const { code } = await agent.stop();
      assertEquals(code, 0);
    },
  ),
);
