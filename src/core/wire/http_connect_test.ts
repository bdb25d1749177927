import { assertEquals } from "@std/assert";
import { CONNECT_ANSWERS, CONNECT_HEAD_MAX_BYTES, decodeConnectHead, malformed } from "./mod.ts";

const bytesOf = (text: string) => new TextEncoder().encode(text);
const decode = (text: string) => decodeConnectHead(bytesOf(text), 0, bytesOf(text).length);

Deno.test("HTTP CONNECT: the target, and where the head ends", () => {
  const head = "CONNECT web.ztna:443 HTTP/1.1\r\nHost: web.ztna:443\r\nProxy-Connection: keep-alive\r\n\r\n";
  const wanted = { kind: "connect", target: { host: "web.ztna", port: 443 }, length: head.length } as const;
  assertEquals(decode(head), wanted);
  assertEquals(decode(head + "behind it"), wanted);
  assertEquals(decode("CONNECT WEB:80 HTTP/1.0\r\n\r\n"), { kind: "connect", target: { host: "web", port: 80 }, length: 27 });
  const v6 = decode("CONNECT [2001:db8::1]:80 HTTP/1.1\r\n\r\n");
  assertEquals(v6.kind === "connect" && v6.target.host, "2001:db8::1");
  assertEquals(decode("GET http://web.ztna/ HTTP/1.1\r\nHost: web.ztna\r\n\r\n").kind, "other-method");
});

Deno.test("HTTP CONNECT: a head in pieces is never asked for more than it has", () => {
  const head = bytesOf("CONNECT web:1 HTTP/1.1\r\nHost: web:1\r\nUser-Agent: x\r\n\r\n");
  for (let length = 0; length < head.length; length++) {
    const decoded = decodeConnectHead(head, 0, length);
    assertEquals(decoded.kind === "need" && decoded.bytes > length && decoded.bytes <= head.length, true, `at ${length}`);
  }
});

Deno.test("HTTP CONNECT: whatever two parsers could read in two ways is malformed", () => {
  const wrong: readonly (readonly [head: string, why: Parameters<typeof malformed>[0]])[] = [
    ["CONNECT web:443  HTTP/1.1\r\n\r\n", "first-byte"],
    ["CONNECT web:443 HTTP/2.0\r\n\r\n", "first-byte"],
    ["CONNECT web:443\r\n\r\n", "first-byte"],
    ["connect web:443 HTTP/1.1\r\n", "first-byte"],
    ["\r\nCONNECT web:443 HTTP/1.1\r\n\r\n", "first-byte"],
    ["CONNECT web HTTP/1.1\r\n\r\n", "address"],
    ["CONNECT web:0 HTTP/1.1\r\n\r\n", "address"],
    ["CONNECT web:99999 HTTP/1.1\r\n\r\n", "address"],
    ["CONNECT http://web:1/ HTTP/1.1\r\n\r\n", "address"],
    ["CONNECT user@web:1 HTTP/1.1\r\n\r\n", "address"],
    ["CONNECT web:1 HTTP/1.1\n\n", "control-characters"],
    ["CONNECT web:1 HTTP/1.1\r\nA: b\rc\r\n\r\n", "control-characters"],
    ["CONNECT web:1 HTTP/1.1\r\nA: b\u0000\r\n\r\n", "control-characters"],
    ["CONNECT wéb:1 HTTP/1.1\r\n\r\n", "control-characters"],
    ["CONNECT web:1 HTTP/1.1\r\nA : b\r\n\r\n", "not-canonical"],
    ["CONNECT web:1 HTTP/1.1\r\nA: b\r\n folded\r\n\r\n", "not-canonical"],
    ["CONNECT web:1 HTTP/1.1\r\n: b\r\n\r\n", "not-canonical"],
    ["\u0016\u0003\u0001", "control-characters"],
  ];
  for (const [head, why] of wrong) assertEquals(decode(head), malformed(why), JSON.stringify(head));
});

Deno.test("HTTP CONNECT: a head is at most 8 KiB", () => {
  const line = "CONNECT web:1 HTTP/1.1\r\nA: ";
  const whole = line + "x".repeat(CONNECT_HEAD_MAX_BYTES - line.length - 4) + "\r\n\r\n";
  assertEquals(decode(whole).kind, "connect");
  assertEquals(decode(whole.slice(0, -4) + "xx\r\n\r\n"), malformed("too-long"));
  assertEquals(decode(line + "x".repeat(CONNECT_HEAD_MAX_BYTES)), malformed("too-long"));
});

Deno.test("HTTP CONNECT: the answers", () => {
  assertEquals(CONNECT_ANSWERS[200], "HTTP/1.1 200 Connection established\r\n\r\n");
  assertEquals(CONNECT_ANSWERS[403], "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
});
