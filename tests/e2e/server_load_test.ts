/** Many clients at once: all are held, and all come back in one moment after the server was killed. The long form is `deno task soak load`. */
import { assert, assertEquals } from "@std/assert";
import { OPEN_LIMITS, PeersLoad, registeredAgents, residentMiB } from "../bench/load/peers_load.ts";
import { Gateway } from "./gateway_fixture.ts";

const HELD = 200, RETURNING = 100;
/** Far above what was measured; a leak of a buffer for each connection would show. */
const KIB_EACH_MAX = 200;

Deno.test({
  name: `${HELD} agents are held; ${RETURNING} are back at once after the server was killed`,
  // The test runner cannot tell the reading of a process's log from a leak.
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    await using gateway = await Gateway.empty();
    const flags = [...OPEN_LIMITS, "--retry-key-file", `${gateway.folder}/address.keys`];
    const server = await gateway.startServer(...flags);
    const target = { server: gateway.serverAddress, pki: gateway.pki.folder };
    {
      const before = residentMiB(server.pid);
      await using held = new PeersLoad({ ...target, count: HELD, window: 32 });
      const { established, lost } = await held.registered();
      assertEquals([established, lost, await registeredAgents(server, gateway.folder)], [HELD, 0, HELD]);
      const each = (residentMiB(server.pid) - before) * 1024 / HELD;
      assert(each < KIB_EACH_MAX, `${each.toFixed(0)} KiB for each connection`);
    }
    await using crowd = new PeersLoad({ ...target, count: RETURNING, window: 32 });
    await crowd.registered();
    await server.stop("SIGKILL");
    const again = await gateway.startServer(...flags);
    await crowd.redial();
    await crowd.registered();
    assertEquals(await registeredAgents(again, gateway.folder), RETURNING);
  },
});
