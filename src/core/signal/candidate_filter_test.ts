/** Addresses that nobody should be made to send to. */
import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { formatIp } from "../../base/mod.ts";
import type { Candidate } from "../wire/mod.ts";
import { filterCandidates, isUsableAddress } from "./mod.ts";

const STRICT = { allowLoopback: false };
const TEST = { allowLoopback: true };

function candidate(ip: string, port = 5000, changes: Partial<Candidate> = {}): Candidate {
  return { type: "host", address: { ip, port }, priority: 1, foundation: `host_${ip}`, relatedAddress: null, ...changes };
}

Deno.test("addresses of hosts pass, private ones too", () => {
  for (const ip of ["192.0.2.1", "10.0.0.1", "192.168.1.1", "100.64.0.1", "223.255.255.255", "1.0.0.0", "2001:db8::1", "fd00::1"]) {
    assertEquals(isUsableAddress({ ip, port: 1 }, STRICT), true, ip);
  }
});

Deno.test("unspecified, multicast, broadcast, reserved and link-local addresses do not", () => {
  const refused = ["0.0.0.0", "0.1.2.3", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "169.254.169.254"];
  const refused6 = ["::", "ff02::1", "ff0e::1", "fe80::1", "febf::1", "::192.0.2.1", "::2"];
  for (const ip of [...refused, ...refused.map((v4) => `::ffff:${v4}`), ...refused6]) {
    assertEquals(isUsableAddress({ ip, port: 5000 }, TEST), false, ip);
  }
});

Deno.test("loopback passes in tests only", () => {
  for (const ip of ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"]) {
    assertEquals([isUsableAddress({ ip, port: 5 }, STRICT), isUsableAddress({ ip, port: 5 }, TEST)], [false, true], ip);
  }
});

Deno.test("port 0, other ports that are none and texts that are no addresses do not pass", () => {
  for (
    const [ip, port] of [["192.0.2.1", 0], ["192.0.2.1", 65536], ["192.0.2.1", -1], ["host", 5], ["", 5], ["1.2.3", 5]] as const
  ) {
    assertEquals(isUsableAddress({ ip, port }, TEST), false, `${ip} ${port}`);
  }
});

Deno.test("what is left keeps its order, without repetitions, and no more than 32", () => {
  const many = Array.from({ length: 40 }, (_, i) => candidate(`192.0.2.${i}`));
  const kept = filterCandidates([candidate("0.0.0.0"), ...many, ...many], STRICT);
  assertEquals(kept, many.slice(0, 32));
  const [host, reflexive] = [candidate("192.0.2.1"), candidate("192.0.2.1", 5000, { type: "server-reflexive" })];
  assertEquals(filterCandidates([host, reflexive, host, candidate("192.0.2.1", 5001)], STRICT), [
    host,
    reflexive,
    candidate("192.0.2.1", 5001),
  ]);
});

Deno.test("a related address that would not pass is left out", () => {
  const related = (ip: string) => candidate("192.0.2.1", 5000, { relatedAddress: { ip, port: 9 } });
  assertEquals(filterCandidates([related("10.0.0.1")], STRICT), [related("10.0.0.1")]);
  assertEquals(filterCandidates([related("0.0.0.0")], STRICT), [candidate("192.0.2.1")]);
});

Deno.test("a mapped address passes exactly if its IPv4 address does", () => {
  fc.assert(fc.property(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.boolean(), (bytes, allowLoopback) => {
    const ip = formatIp(bytes, 0, 4);
    const usable = isUsableAddress({ ip, port: 1 }, { allowLoopback });
    assertEquals(isUsableAddress({ ip: `::ffff:${ip}`, port: 1 }, { allowLoopback }), usable);
    if ((bytes[0] ?? 0) >= 224 || bytes[0] === 0) assertEquals(usable, false);
  }));
});
