import { assert, assertEquals } from "@std/assert";
import { CONNECTOR } from "../../config/mod.ts";
import { NETSTACK_LIMITS } from "../../core/netstack/mod.ts";
import { FLOW_LIMITS } from "../../core/registry/mod.ts";
import { stackLimits } from "./limits.ts";

/** The longest that the setting takes, in milliseconds. */
function longest(setting: "tcp_keepalive" | "udp_idle_timeout"): number {
  const takes = (seconds: number) => CONNECTOR.settings[setting].schema.safeParse(`${seconds}s`).success;
  let seconds = 1;
  while (takes(seconds + 1)) seconds++;
  return 1_000 * seconds;
}

Deno.test("whatever the settings say, a silent session is asked, and given up, before the server forgets whose it is", () => {
  const { tcpIdleMs, tcpLingerMs, udpIdleMs } = FLOW_LIMITS;
  const times = { tcpIdleMs: 1, tcpDrainMs: 1, tcpKeepaliveMs: longest("tcp_keepalive"), udpIdleMs: longest("udp_idle_timeout") };
  for (const limits of [NETSTACK_LIMITS, { ...NETSTACK_LIMITS, ...stackLimits(times) }]) {
    const { keepaliveMs, keepaliveIntervalMs, keepaliveProbesMax } = limits;
    assert(keepaliveMs + keepaliveIntervalMs < tcpIdleMs, "a living agent's flow never ages");
    assert(keepaliveMs + keepaliveIntervalMs * keepaliveProbesMax < tcpIdleMs + tcpLingerMs, "a dead one's session ends first");
    assert(limits.udpFlowIdleMs <= udpIdleMs, "a UDP flow does not outlive the server's");
  }
  assertEquals([times.tcpKeepaliveMs, times.udpIdleMs], [90_000, 60_000]);
});

Deno.test("one agent leaves most sessions to others", () => {
  const { sessionsMax, sessionsPerAgentMax } = NETSTACK_LIMITS;
  assert(sessionsPerAgentMax * 4 <= sessionsMax);
});

Deno.test("every time that the settings say reaches the network stack", () => {
  const { pendingMs, ...times } = stackLimits({ tcpIdleMs: 1, tcpDrainMs: 2, tcpKeepaliveMs: 3, udpIdleMs: 4 });
  assertEquals(times, { idleMs: 1, drainMs: 2, keepaliveMs: 3, keepaliveIntervalMs: 3, udpFlowIdleMs: 4 });
  assertEquals(Object.entries(stackLimits(null)), [["pendingMs", pendingMs]]);
});
