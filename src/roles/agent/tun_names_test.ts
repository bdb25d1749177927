/** Questions to the DNS of the TUN device, as whole packets: what is answered, refused, and left alone. */
import { assert, assertEquals } from "@std/assert";
import {
  decodeIp,
  decodeUdp,
  encodeUdp,
  IpHeader,
  packetMemory,
  parseEnds,
  UdpHeader,
  udpHeadroomBytes,
} from "../../core/wire/mod.ts";
import { TunNames } from "./tun_names.ts";

const OWN = "100.64.0.1", DNS = "100.64.0.53";
const REPLY_AT = 1024;
const memory = packetMemory(4096);
const names = new TunNames(
  parseEnds(DNS, OWN) ?? new IpHeader(),
  (service, isIpv6) =>
    service === "web" ? (isIpv6 ? null : "10.100.0.2") : service === "db.prod" ? (isIpv6 ? "fd00::3" : "10.100.0.3") : undefined,
);

interface Asked {
  readonly name: string;
  readonly type?: number;
  readonly from?: string;
  readonly port?: number;
  readonly flags?: number;
  readonly dnsClass?: number;
}

/** The code and the answers' bytes, or null when nothing is said. */
function ask({ name, type = 1, from = OWN, port = 53, flags = 0x0100, dnsClass = 1 }: Asked): readonly [number, number[]] | null {
  const labels = name.split(".").flatMap((label) => [label.length, ...new TextEncoder().encode(label)]);
  const question = [0x12, 0x34, flags >> 8, flags & 255, 0, 1, 0, 0, 0, 0, 0, 0, ...labels, 0, type >> 8, type & 255, 0, dnsClass];
  memory.bytes.set(question, udpHeadroomBytes(true));
  const length = encodeUdp(memory, 0, parseEnds(from, DNS) ?? new IpHeader(), 40_000, port, question.length);
  const replied = names.answer(memory, 0, length, REPLY_AT);
  if (replied === 0) return null;
  const ip = new IpHeader(), udp = new UdpHeader();
  assertEquals([decodeIp(memory, REPLY_AT, replied, ip), decodeUdp(memory, ip, udp)], ["ok", "ok"]);
  assertEquals([udp.sourcePort, udp.destinationPort], [53, 40_000]);
  const said = memory.bytes.subarray(udp.payloadOffset, udp.payloadOffset + udp.payloadBytes);
  assertEquals([...said.subarray(0, 2)], [0x12, 0x34]);
  const count = (said[7] ?? 0) as number;
  return [(said[3] ?? 0) & 15, count === 0 ? [] : [...said.subarray(-4)]];
}

Deno.test("the name of a service is its inner address, whatever its case and with dots in it", () => {
  assertEquals(ask({ name: "web.ztna" }), [0, [10, 100, 0, 2]]);
  assertEquals(ask({ name: "WEB.Ztna" }), [0, [10, 100, 0, 2]]);
  assertEquals(ask({ name: "db.prod.ztna" }), [0, [10, 100, 0, 3]]);
  assertEquals(ask({ name: "db.prod.ztna", type: 28 }), [0, [0, 0, 0, 3]], "the end of fd00::3");
  assertEquals(ask({ name: "db.prod.ztna", type: 255 }), [0, [0, 0, 0, 3]], "both");
});

Deno.test("there is nothing of another type, no other service, and nothing outside the domain", () => {
  assertEquals(ask({ name: "web.ztna", type: 28 }), [0, []]);
  assertEquals(ask({ name: "ztna", type: 2 }), [0, []]);
  assertEquals(ask({ name: "mail.ztna" }), [3, []]);
  assertEquals(ask({ name: "web" }), [5, []]);
  assertEquals(ask({ name: "web.ztna.example" }), [5, []]);
  assertEquals(ask({ name: "web.ztna", dnsClass: 3 }), [5, []]);
  assertEquals(ask({ name: "web.ztna", flags: 0x2000 }), [4, []]);
});

Deno.test("what is no question of this machine gets no answer", () => {
  assertEquals(ask({ name: "web.ztna", from: "10.0.0.9" }), null);
  assertEquals(ask({ name: "web.ztna", port: 5353 }), null);
  assertEquals(ask({ name: "web.ztna", flags: 0x8000 }), null);
  memory.bytes.fill(0xff, 0, 64);
  assert(names.answer(memory, 0, 64, REPLY_AT) === 0);
});
