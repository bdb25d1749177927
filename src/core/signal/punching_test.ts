/** Candidates, pairs and the checks of one side: what is sent when, and what ends it. */
import { assert, assertEquals } from "@std/assert";
import type { SocketAddress } from "../../base/mod.ts";
import { makeCandidate, pairPriority, Punching, PUNCHING_MS } from "./mod.ts";

const at = (ip: string, port = 5000): SocketAddress => ({ ip, port });

function punching(remote: readonly SocketAddress[], local: readonly SocketAddress[] = [at("10.0.0.1"), at("fd00::1")]): Punching {
  let n = 0;
  return new Punching({
    side: "connector",
    local: local.map((address) => makeCandidate("host", address)),
    remote: remote.map((address, i) => makeCandidate(i === 0 ? "server-reflexive" : "host", address)),
    entropy: (bytes) => bytes.fill(++n),
    startMs: 1_000,
  });
}

/** Everything that is sent, as `ms address`. */
function sent(checks: Punching, untilMs = 20_000): string[] {
  const said: string[] = [];
  for (let nowMs = checks.nextMs; nowMs <= untilMs; nowMs = checks.nextMs) {
    for (let check = checks.poll(nowMs); check !== null; check = checks.poll(nowMs)) said.push(`${nowMs} ${check.to.ip}`);
  }
  return said;
}

Deno.test("priorities are those of the wire specification", () => {
  assertEquals(makeCandidate("host", at("192.168.1.100")), {
    type: "host",
    address: at("192.168.1.100"),
    priority: 2130706431,
    foundation: "host_192.168.1.100",
    relatedAddress: null,
  });
  const reflexive = makeCandidate("server-reflexive", at("203.0.113.5"), at("192.168.1.100"));
  assertEquals([reflexive.priority, reflexive.foundation], [1694498815, "srflx_203.0.113.5"]);
  assertEquals(makeCandidate("relay", at("2001:db8::1")).priority, 16776959);
  assertEquals(pairPriority(2, 3), (2n << 32n) + 6n);
  assertEquals(pairPriority(3, 2), (2n << 32n) + 7n);
});

Deno.test("the best pair first, a new one every 20 ms, each address five times with growing pauses, five seconds in all", () => {
  const checks = punching([at("203.0.113.5"), at("192.0.2.7"), at("192.0.2.7"), at("fd00::7")]);
  const said = sent(checks);
  assertEquals(said.slice(0, 3), ["1000 192.0.2.7", "1020 fd00::7", "1040 203.0.113.5"]);
  assertEquals(said.filter((line) => line.endsWith(" 192.0.2.7")).map((line) => Number(line.split(" ")[0])), [
    1000,
    1200,
    1600,
    2400,
    4000,
  ]);
  assertEquals([said.length, checks.state, checks.nextMs], [15, "failed", Infinity]);
  const alone = punching([at("fd00::7")], [at("10.0.0.1")]);
  assertEquals([alone.state, alone.nextMs], ["failed", Infinity], "no pair of one family");
});

Deno.test("the first answer to one of our requests ends it; foreign, failed and early ones do not", () => {
  const checks = punching([at("203.0.113.5"), at("192.0.2.7")]);
  assert(checks.poll(999) === null);
  const ids = ["01".repeat(12), "02".repeat(12)];
  assert(!checks.handleResponse(ids[0] ?? "", true, at("192.0.2.7")), "nothing was asked yet");
  const first = checks.poll(1_000);
  assertEquals(first?.transactionId, ids[0]);
  assert(!checks.handleResponse("ff".repeat(12), true, at("192.0.2.7")));
  assert(!checks.handleResponse(ids[0] ?? "", false, at("192.0.2.7")));
  assert(!checks.handleResponse(ids[1] ?? "", true, at("192.0.2.7")), "that one waits for its turn");
  assert(checks.handleResponse(ids[0] ?? "", true, at("192.0.2.99", 7)), "a NAT may answer from elsewhere");
  assertEquals([checks.state, checks.workingAddress, checks.poll(1_020)], ["succeeded", at("192.0.2.99", 7), null]);
  assert(!checks.handleResponse(ids[0] ?? "", true, at("192.0.2.7")), "it is over");
  const late = punching([at("192.0.2.7")]);
  late.poll(1_000);
  assertEquals([late.poll(1_000 + PUNCHING_MS), late.state], [null, "failed"]);
});

Deno.test("an address that asks by itself is asked too, but not many of them, and not after the end", () => {
  const checks = punching([at("203.0.113.5")]);
  checks.handleRequest(at("203.0.113.5"), 1_000);
  for (let port = 1; port <= 100; port++) checks.handleRequest(at("198.51.100.9", port), 1_000);
  for (let port = 1; port <= 100; port++) checks.handleRequest(at("198.51.100.9", port), 1_000);
  const asked = sent(checks);
  assertEquals(asked.filter((line) => line.endsWith(" 203.0.113.5")).length, 5);
  assertEquals(asked.filter((line) => line.endsWith(" 198.51.100.9")).length, 8 * 5);
  checks.handleRequest(at("198.51.100.10"), 10_000);
  assertEquals([checks.state, checks.poll(20_000)], ["failed", null]);
  const found = punching([at("203.0.113.5")]);
  found.handleRequest(at("198.51.100.9"), 1_000);
  const ids = [found.poll(1_000), found.poll(1_000)];
  assertEquals(ids.map((check) => check?.to.ip), ["203.0.113.5", "198.51.100.9"]);
  assert(found.handleResponse(ids[1]?.transactionId ?? "", true, at("198.51.100.9")));
  assertEquals(found.workingAddress, at("198.51.100.9"));
});
