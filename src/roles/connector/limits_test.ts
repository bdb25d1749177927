import { assert } from "@std/assert";
import { NETSTACK_LIMITS } from "../../core/netstack/mod.ts";
import { FLOW_LIMITS } from "../../core/registry/mod.ts";

Deno.test("a silent session is asked, and given up, before the server forgets whose it is", () => {
  const { keepaliveMs, keepaliveIntervalMs, keepaliveProbesMax, sessionsMax, sessionsPerAgentMax } = NETSTACK_LIMITS;
  const { tcpIdleMs, tcpLingerMs } = FLOW_LIMITS;
  assert(keepaliveMs + keepaliveIntervalMs < tcpIdleMs, "a living agent's flow never ages");
  assert(keepaliveMs + keepaliveIntervalMs * keepaliveProbesMax < tcpIdleMs + tcpLingerMs, "a dead one's session ends first");
  assert(sessionsPerAgentMax * 4 <= sessionsMax, "one agent leaves most sessions to others");
});
