import { assertEquals } from "@std/assert";
import { toHex } from "./bytes.ts";
import {
  formatIp,
  formatSocketAddress,
  type HostPort,
  isV4Mapped,
  parseHostPort,
  parseIp,
  parseIpv4,
  parseIpv6,
  parsePort,
} from "./address.ts";

Deno.test("a text that is not exactly an IPv4 address is null, never zero", () => {
  assertEquals(parseIpv4("203.0.113.5"), Uint8Array.of(203, 0, 113, 5));
  assertEquals(parseIpv4("0.0.0.0"), new Uint8Array(4));
  const bad = [
    "",
    "1.2.3",
    "1.2.3.256",
    "01.2.3.4",
    "::1",
    "host",
    "1.2.3.4.5",
    "1.2.3.",
    ".1.2.3",
    "1.2.3.4 ",
    "1.2.3.-4",
    "1.2.3.0x4",
    "1.2.3.4\n",
    "1..2.3",
    "1.2.3.1e1",
    "٣.1.1.1",
  ];
  for (const text of bad) assertEquals(parseIpv4(text), null, text);
});

Deno.test("IPv6 texts of RFC 4291 are read and written as RFC 5952 says", () => {
  const cases: readonly (readonly [text: string, hex: string, canonical: string])[] = [
    ["::", "0".repeat(32), "::"],
    ["::1", "0".repeat(31) + "1", "::1"],
    ["2001:DB8:0:0:0:0:0:1", "20010db8000000000000000000000001", "2001:db8::1"],
    ["2001:db8::0:1:0:0", "20010db8000000000000000100000000", "2001:db8::1:0:0"],
    ["2001:db8:0:1:1:1:1:1", "20010db8000000010001000100010001", "2001:db8:0:1:1:1:1:1"],
    ["1:0:0:2:0:0:0:3", "00010000000000020000000000000003", "1:0:0:2::3"],
    ["1:0:0:2:3:0:0:4", "00010000000000020003000000000004", "1::2:3:0:0:4"],
    ["fe80::", "fe800000000000000000000000000000", "fe80::"],
    ["::ffff:203.0.113.5", "00000000000000000000ffffcb007105", "::ffff:203.0.113.5"],
    ["64:ff9b::192.0.2.33", "0064ff9b0000000000000000c0000221", "64:ff9b::c000:221"],
    ["1:2:3:4:5:6:7::", "00010002000300040005000600070000", "1:2:3:4:5:6:7:0"],
  ];
  for (const [text, hex, canonical] of cases) {
    const bytes = parseIpv6(text);
    assertEquals(bytes === null ? null : toHex(bytes), hex, text);
    if (bytes !== null) assertEquals(formatIp(bytes, 0, 16), canonical);
  }
});

Deno.test("what is not an IPv6 address is null", () => {
  const bad = [
    "",
    ":",
    ":::",
    "1::2::3",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "12345::",
    "g::",
    "::1%eth0",
    "[::1]",
    "::1.2.3",
    "1.2.3.4",
    "::01.2.3.4",
    "1:2:3:4:5:6:7:1.2.3.4",
    "::1 ",
    ":1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:",
    "1:2:3:4::5:6:7:8",
  ];
  for (const text of bad) assertEquals(parseIpv6(text), null, text);
});

Deno.test("only ::ffff:0:0/96 is v4-mapped", () => {
  const mapped = (text: string) => isV4Mapped(parseIpv6(text) ?? new Uint8Array(), 0);
  assertEquals(mapped("::ffff:1.2.3.4"), true);
  assertEquals(mapped("::1.2.3.4"), false);
  assertEquals(mapped("1::ffff:1.2.3.4"), false);
  assertEquals(isV4Mapped(new Uint8Array(), 0), false);
  assertEquals(parseIp("1.2.3.4")?.length, 4);
  assertEquals(parseIp("::1")?.length, 16);
});

Deno.test("ports are whole numbers up to 65535, zero only where asked for", () => {
  assertEquals(parsePort("65535"), { ok: true, value: 65535 });
  assertEquals(parsePort("0", { zero: true }), { ok: true, value: 0 });
  for (const text of ["", "0", "65536", "70000", "abc", "+80", "-1", "080", "1e3", " 80", "80 ", "8\n", "0x50"]) {
    assertEquals(parsePort(text).ok, false, text);
  }
});

Deno.test("host and port are told apart, addresses canonical, names in lower case", () => {
  const good: readonly (readonly [string, string, number, HostPort["kind"]])[] = [
    ["10.0.0.1:80", "10.0.0.1", 80, "ipv4"],
    ["[2001:DB8::1]:4433", "2001:db8::1", 4433, "ipv6"],
    ["Gateway.Example:443", "gateway.example", 443, "name"],
    ["my_db-1:5432", "my_db-1", 5432, "name"],
    ["localhost:1", "localhost", 1, "name"],
  ];
  for (const [text, host, port, kind] of good) {
    assertEquals(parseHostPort(text), { ok: true, value: { host, port, kind } }, text);
  }
  assertEquals(parseHostPort("127.0.0.1:0", { zero: true }).ok, true);
  assertEquals(parseHostPort("[::1]", { defaultPort: 4433 }), { ok: true, value: { host: "::1", port: 4433, kind: "ipv6" } });
  const bad = [
    "",
    ":80",
    "host",
    "host:",
    "host:0",
    "host:99999",
    "1.2.3:80",
    "1.2.3.256:80",
    "01.2.3.4:80",
    "0x7f.1:80",
    "2130706433:80",
    "::1:80",
    "::1",
    "[::1]80",
    "[1.2.3.4]:80",
    "[]:80",
    "[::1]:",
    "a b:80",
    "-a:80",
    "a..b:80",
    "a.:80",
    "http://a:80",
    "a:80:81",
    "é:80",
    `${"a".repeat(64)}:80`,
    "host:80\n",
  ];
  for (const text of bad) assertEquals(parseHostPort(text).ok, false, text);
});

Deno.test("IPv6 addresses are written in brackets before a port", () => {
  assertEquals(formatSocketAddress({ ip: "::1", port: 1 }), "[::1]:1");
  assertEquals(formatSocketAddress({ ip: "1.2.3.4", port: 65535 }), "1.2.3.4:65535");
});
