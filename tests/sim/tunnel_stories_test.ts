/**
 * Stories that once went wrong in a seeded world, told by themselves: what must hold is the same as there.
 */
import { assertEquals } from "@std/assert";
import { decodeCertificate } from "./memory_handshake_fixture.ts";
import { memoryKit } from "./memory_kit_fixture.ts";
import { packetPeerProgram } from "./packet_peer_fixture.ts";
import { roleProgram } from "./sim_plane_fixture.ts";
import { SimWorld } from "./sim_world_fixture.ts";
import { BACKEND_ADDRESS, connectorPlan, SERVER_NAME, serverPlan, simMaterial, uplinkPlan } from "./tunnel_plans_fixture.ts";
import { CLEAN_LINK } from "./sim_udp_fixture.ts";
import { Gateway } from "./tunnel_gateway_fixture.ts";
import type { ConnectionPlan, Scenario } from "./tunnel_scenario_fixture.ts";
import { PLAIN_SCRIPT } from "./tunnel_script_fixture.ts";

/** One agent, one connector, good links; windows and connections as the story has them. */
function tell(
  connections: readonly Omit<ConnectionPlan, "number" | "agent">[],
  changes: Partial<Scenario> = {},
): readonly string[] {
  const scenario: Scenario = {
    seed: 1,
    weather: "calm",
    isIpv6: false,
    retries: false,
    cidRotationMs: 300_000,
    hasNat: false,
    agents: 1,
    connectors: 1,
    link: CLEAN_LINK,
    tcp: { delayMs: 0.05, jitterMs: 0, pipeBytes: 65_536, segmentBytesMax: 65_536 },
    limits: { connectionWindowBytes: 1_000_000, streamWindowBytes: 100_000, streamsMax: 100 },
    connections: connections.map((plan, number) => ({ ...plan, number, agent: 0 })),
    disruptions: [],
    takesSegments: true,
    interfaceMtu: 65_536,
    sendBlocks: 0,
    coalesces: 0.5,
    interrupted: 0,
    outOfDescriptors: 0,
    ...changes,
  };
  return new Gateway(scenario).run();
}

Deno.test("a client that leaves while its acceptance waits for room leaves no connection at the backend", () => {
  // The first connection is not read and takes the whole window between connector and server; the second one's backend has
  // accepted, but the connector cannot say so before the client is gone.
  const wrong = tell([
    {
      startMs: 100,
      backend: "accepts",
      client: { ...PLAIN_SCRIPT, readBytesMax: 1, readPauseMs: 600_000, reset: { when: "after", ms: 5_000 } },
      server: { ...PLAIN_SCRIPT, sendBytes: 300_000 },
    },
    {
      startMs: 1_000,
      backend: "accepts",
      client: { ...PLAIN_SCRIPT, sendBytes: 10, starts: "after-first-byte", reset: { when: "after", ms: 1_000 } },
      server: { ...PLAIN_SCRIPT, sendBytes: 10, starts: "after-end" },
    },
  ], { limits: { connectionWindowBytes: 20_000, streamWindowBytes: 20_000, streamsMax: 100 } });
  assertEquals(wrong, []);
});

Deno.test("what a denied client says in its first flight is not heard", () => {
  const lines: string[] = [];
  const world = new SimWorld({ seed: 1, kit: memoryKit(), show: (line) => lines.push(line) });
  const serverAddress = "10.0.0.1";
  const denied = simMaterial("denied", ["agent.*.ztna", "connector.*.ztna"]);
  const serial = decodeCertificate(denied.certificatePem)?.summary.serial ?? "";
  const plan = serverPlan(simMaterial("server", [SERVER_NAME]));
  const revocation = { ...plan.revocation, denied: [{ serial, issuer: null }] };
  world.start("server", world.host("server", [serverAddress]), roleProgram({ ...plan, revocation }));
  let reached = 0;
  const onAccept = () => void reached++;
  world.tcp.serve(world.host("backend", [BACKEND_ADDRESS]), BACKEND_ADDRESS, 80, { kind: "script", afterMs: 0, onAccept });
  const uplink = uplinkPlan(simMaterial("connector", ["connector.web.ztna"]), serverAddress);
  const connector = world.start(
    "connector",
    world.host("connector", ["10.0.0.2"]),
    roleProgram(connectorPlan(uplink, [{ id: "web", port: 80 }])),
  );
  assertEquals(world.run(10_000, () => connector.metric("registered") === 1), true);

  const peer = { services: ["web"], version: "ztna-v2", tls: denied, serverAddress, onPacket: () => {} } as const;
  const start = (role: "agent" | "connector", address: string) =>
    world.start(role, world.host(role, [address]), packetPeerProgram({ ...peer, role, opensAtOnce: "web" }, () => {}));
  start("agent", "10.0.0.3");
  start("connector", "10.0.0.4");
  world.run(world.nowMs + 5_000);
  assertEquals(lines.some((line) => line.includes("peer-revoked")), true);
  assertEquals(lines.filter((line) => line.includes("server info registered") && line.includes("denied")), []);
  assertEquals(reached, 0);
});
