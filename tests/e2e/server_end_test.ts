/** The end of the program: every client of every address is told, in the words that earlier servers used. */
import { createSocket } from "node:dgram";
import { assert, assertEquals } from "@std/assert";
import { ALPN_V1, ALPN_V2 } from "../../src/core/wire/mod.ts";
import { Gateway } from "./gateway_fixture.ts";
import { ServerRig } from "./server_rig_fixture.ts";

Deno.test({
  name: "one port on addresses of both families; on SIGTERM clients of both versions are told why, and the program ends with 0",
  // The test runner cannot tell the reading of a process's log from a leak.
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    await using rig = await ServerRig.start();
    await using gateway = await Gateway.empty();
    const { server, caCert, authority } = gateway.pki;
    const port = await freePort();
    const binds = ["--port", `${port}`, "--bind", "127.0.0.1", "--bind", "::1"];
    const process = gateway.run(["server", ...binds, "--cert", server.cert, "--key", server.key, "--ca-cert", caCert]);
    assertEquals(await process.ports(), [port, port]);
    const identity = await authority.issue({ commonName: "agent", dns: ["agent.web.ztna"], eku: ["clientAuth"] });
    const clients = ["127.0.0.1", "::1"].flatMap((address) =>
      [ALPN_V1, ALPN_V2].map((alpn) =>
        rig.dial(identity, { server: { address, port }, trustPem: Deno.readFileSync(caCert), protocols: [alpn] })
      )
    );
    await rig.until(() => clients.every(({ isUp }) => isUp));
    for (const client of clients) assertEquals(await rig.register(client, "agent", "web"), "ack");
    const ending = process.stop("SIGTERM");
    await rig.until(() => clients.every((client) => client.ending !== null));
    const told = clients.map((client) => client.ending?.info);
    assertEquals(told, clients.map(() => ({ isApplication: true, code: 0, reason: "server shutting down" })));
    assertEquals((await ending).code, 0);
    assertEquals(process.linesOf("stopped").map(({ msg }) => msg), ["Graceful shutdown complete"]);
  },
});

/** A UDP port that is free now. */
async function freePort(): Promise<number> {
  const socket = createSocket("udp4");
  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
  const { port } = socket.address();
  await new Promise<void>((resolve) => socket.close(resolve));
  return port;
}

Deno.test("a client that closes while its handshake waits for an acknowledgement says so once, and the server hears it", async () => {
  await using rig = await ServerRig.start();
  for (let n = 1; n <= 5; n++) {
    const client = await rig.client(["agent.web.ztna"]);
    await rig.until(() => client.isUp);
    const { engine } = client.connection;
    // Nobody turns meanwhile: what it has sent last is not answered, and a probe is due.
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, engine.timeoutMs()) + 5));
    engine.onTimeout();
    const before = engine.stats().packetsSent;
    client.close();
    rig.turn();
    const sent = client.connection.isFreed ? 1 : engine.stats().packetsSent - before;
    assert(sent >= 1 && sent <= 4, `${sent} packets in one turn`);
    await rig.until(() => rig.count("tlsConnections") === n && rig.count("tlsVersion") === 0);
  }
});
