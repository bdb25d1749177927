import { assertEquals } from "@std/assert";
import { fromHex, toHex } from "../../base/mod.ts";
import * as wire from "./mod.ts";

const bytesOf = (hex: string) => fromHex(hex.replaceAll(" ", "")) ?? new Uint8Array();
const request = (hex: string) => wire.decodeSocksRequest(bytesOf(hex), 0, bytesOf(hex).length);
const datagram = (hex: string) => wire.decodeSocksDatagram(bytesOf(hex), 0, bytesOf(hex).length);

Deno.test("SOCKS5: a greeting, with and without a method that is taken", () => {
  const greeting = (hex: string) => wire.decodeSocksGreeting(bytesOf(hex), 0, bytesOf(hex).length);
  assertEquals(greeting("05 01 00"), { kind: "greeting", takesNoAuthentication: true, length: 3 });
  assertEquals(greeting("05 02 02 00 ff"), { kind: "greeting", takesNoAuthentication: true, length: 4 });
  assertEquals(greeting("05 01 02"), { kind: "greeting", takesNoAuthentication: false, length: 3 });
  assertEquals(greeting("05"), { kind: "need", bytes: 2 });
  assertEquals(greeting("05 03 00"), { kind: "need", bytes: 5 });
  assertEquals(greeting("04 01"), wire.malformed("first-byte"));
  assertEquals(greeting("05 00"), wire.malformed("empty"));
  const out = new Uint8Array(2);
  assertEquals([wire.encodeSocksMethod(out, 0, true), toHex(out)], [2, "0500"]);
  assertEquals([wire.encodeSocksMethod(out, 0, false), toHex(out)], [2, "05ff"]);
});

Deno.test("SOCKS5: requests by name and by address; what is not offered has its code", () => {
  assertEquals(request("05 01 00 03 08 7765622e7a746e61 01bb"), {
    kind: "request",
    command: "connect",
    target: { host: "web.ztna", port: 443 },
    length: 15,
  });
  assertEquals(request("05 01 00 01 0a640002 0050"), {
    kind: "request",
    command: "connect",
    target: { host: "10.100.0.2", port: 80 },
    length: 10,
  });
  const v6 = request(`05 03 00 04 ${"00".repeat(15)}01 0000`);
  assertEquals(v6, { kind: "request", command: "associate", target: { host: "::1", port: 0 }, length: 22 });
  assertEquals(request("05 02 00 01 0a640002 0050"), { kind: "unsupported", code: wire.SocksReplyCode.commandNotSupported });
  assertEquals(request("05 01 00 02 0a640002 0050"), { kind: "unsupported", code: wire.SocksReplyCode.addressNotSupported });
});

Deno.test("SOCKS5: a request is never asked for more than it has, byte by byte", () => {
  for (
    const hex of ["050100030177 0050", "05010003087765622e7a746e6101bb", "0501000101020304 0050", `05030004${"00".repeat(18)}`]
  ) {
    const bytes = bytesOf(hex);
    for (let length = 0; length < bytes.length; length++) {
      const decoded = wire.decodeSocksRequest(bytes, 0, length);
      assertEquals(decoded.kind === "need" && decoded.bytes > length && decoded.bytes <= bytes.length, true, `${hex} at ${length}`);
    }
  }
});

Deno.test("SOCKS5: what no correct client sends is malformed", () => {
  assertEquals(request("04 01 00 03 01 77 0050"), wire.malformed("first-byte"));
  assertEquals(request("05 01 01 03 01 77 0050"), wire.malformed("not-canonical"));
  assertEquals(request("05 01 00 03 00 77 0050"), wire.malformed("empty"));
  assertEquals(request("05 01 00 03 02 c328 0050"), wire.malformed("not-utf8"));
  assertEquals(request("05 01 00 03 01 77 0000"), wire.malformed("address"));
});

Deno.test("SOCKS5: replies name an address of either family", () => {
  const out = new Uint8Array(wire.SOCKS_REPLY_MAX_BYTES);
  const reply = (code: wire.SocksReplyCode, ip: Uint8Array, port: number) =>
    toHex(out.subarray(0, wire.encodeSocksReply(out, 0, code, ip, port)));
  assertEquals(reply(wire.SocksReplyCode.notAllowed, new Uint8Array(4), 0), "05020001000000000000");
  assertEquals(reply(wire.SocksReplyCode.succeeded, bytesOf("7f000001"), 0x1234), "050000017f0000011234");
  assertEquals(reply(wire.SocksReplyCode.connectionRefused, new Uint8Array(16), 1), `05050004${"00".repeat(16)}0001`);
});

Deno.test("SOCKS5: headers of datagrams; fragments are not taken", () => {
  assertEquals(datagram("000000 03 03 646e73 0035 aabb"), {
    kind: "datagram",
    target: { host: "dns", port: 53 },
    headerBytes: 10,
  });
  assertEquals(datagram("000000 01 c0000207 0035"), { kind: "datagram", target: { host: "192.0.2.7", port: 53 }, headerBytes: 10 });
  assertEquals(datagram("000001 03 03 646e73 0035 aabb"), wire.malformed("out-of-range"));
  assertEquals(datagram("000100 03 03 646e73 0035 aabb"), wire.malformed("not-canonical"));
  assertEquals(datagram("000000 03 09 646e73 0035 aabb"), wire.malformed("truncated"));
  assertEquals(datagram("000000 05 03 646e73 0035"), wire.malformed("unknown-code"));
  assertEquals(datagram("000000 03 03 646e73 0000"), wire.malformed("address"));
  assertEquals(datagram("0000"), wire.malformed("truncated"));
});
