/** A private key that lies in no file: handed over in a descriptor, and gone from it once it was read. */
import { assertEquals } from "@std/assert";
import { needing } from "../../tools/needs.ts";
import { Gateway } from "./gateway_fixture.ts";
import { RoleProcess } from "./processes_fixture.ts";

Deno.test(
  needing(
    { tools: ["bash"] },
    "a key that comes in a descriptor lets its holder in; what reads it anew keeps the old one",
    async () => {
      await using gateway = await Gateway.empty();
      const { pki, folder } = gateway;
      await gateway.startServer();
      // The shell becomes the agent, with the end of a pipe as its descriptor 9.
      const wrapper = ["bash", "-c", `exec "$@" 9< <(cat '${pki.agent.key}')`, "bash"];
      const flags = gateway.uplinkFlags({ cert: pki.agent.cert, key: "/dev/fd/9" });
      await using agent = new RoleProcess(["agent", "--forward", "127.0.0.1:0=web", ...flags], folder, {}, wrapper);
      await agent.until("uplink-connected");
      assertEquals(agent.linesOf("settings-warning"), []);
      // A pipe is read once: a reload finds nothing there, says so, and changes nothing.
      agent.signal("SIGHUP");
      await agent.until("reload-failed");
      const { code } = await agent.stop();
      assertEquals(code, 0);
    },
  ),
);
