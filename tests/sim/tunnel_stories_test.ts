/**
 * Stories that once went wrong in a seeded world, told by themselves: what must hold is the same as there.
 */
import { assertEquals } from "@std/assert";
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
