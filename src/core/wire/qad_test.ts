import { assertEquals } from "@std/assert";
import { parseIp, toHex } from "../../base/mod.ts";
import { decodeQad, encodeQad } from "./qad.ts";

function encode(ip: string, port: number): string {
  const source = parseIp(ip) ?? new Uint8Array();
  const bytes = new Uint8Array(30);
  return toHex(bytes.subarray(0, encodeQad(bytes, 0, source, 0, source.length === 4 ? 4 : 16, port)));
}

Deno.test("a v4-mapped peer is reported as IPv4", () => {
  assertEquals(encode("::ffff:203.0.113.5", 54321), "01cb007105d431");
  assertEquals(encode("203.0.113.5", 54321), "01cb007105d431");
  assertEquals(encode("2001:db8::1", 4433), "0220010db80000000000000000000000011151");
});

Deno.test("an address that names nobody is not reported", () => {
  for (const [ip, port] of [["0.0.0.0", 1], ["::", 1], ["::ffff:0.0.0.0", 1], ["203.0.113.5", 0]] as const) {
    assertEquals(encode(ip, port), "");
  }
});

Deno.test("the address is read from where it stands in a larger buffer", () => {
  const bytes = new Uint8Array(40);
  const source = new Uint8Array(40);
  source.set([192, 0, 2, 7], 20);
  assertEquals(encodeQad(bytes, 10, source, 20, 4, 65535), 7);
  assertEquals(decodeQad(bytes, 10, 7), { kind: "qad", address: { ip: "192.0.2.7", port: 65535 } });
});
