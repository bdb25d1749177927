import { assert, assertEquals } from "@std/assert";
import { decodeServiceId, decodeUtf8, parseByteSize, parseDuration, parseSafeText, parseServiceId } from "./validate.ts";

const utf8 = (text: string) => new TextEncoder().encode(text);
const decode = (bytes: Uint8Array, legacy: boolean) => decodeServiceId(bytes, 0, bytes.length, { legacy });

Deno.test("service ids of the default grammar are taken as they are", () => {
  for (const id of ["a", "1", "svc1", "echo-service", "web_app.v2", "0.0", "a..b", "a-_.b", "x".repeat(63)]) {
    assertEquals(parseServiceId(id), { ok: true, value: id });
    assertEquals(decode(utf8(id), false), { ok: true, value: id });
  }
});

/** Names of attacks with a text that neither the default grammar nor, where `legacy` is false, the legacy one takes. */
const ATTACKS: readonly (readonly [name: string, text: string, legacy: boolean])[] = [
  ["command", "a;rm -rf /", true],
  ["backquotes", "a`id`", true],
  ["substitution", "$(id)", true],
  ["pipe", "a|b", true],
  ["and", "a&&b", true],
  ["parent folder", "../x", true],
  ["double slash", "a//b", true],
  ["dot slash", "./a", true],
  ["hidden file", "a/.b", true],
  ["backslash", "a\\b", true],
  ["NUL", "a\0b", false],
  ["line feed", "a\nb", false],
  ["terminal escape", "a\u001b[31mb", false],
  ["C1 control", "a\u0085b", false],
  ["line separator", "a\u2028b", false],
  ["Cyrillic a", "\u0430", true],
  ["right-to-left override", "a\u202eb", false],
  ["257 characters", "a".repeat(257), false],
  ["empty", "", false],
  ["64 characters", "a".repeat(64), true],
  ["256 bytes", "é".repeat(128), false],
  ["upper case", "WebApp", true],
  ["leading hyphen", "-a", true],
  ["trailing dot", "a.", true],
  ["lone separator", "_", true],
  ["trailing line feed", "a\n", false],
  ["space", "a b", true],
  ["byte order mark", "\ufeffa", true],
  ["lone surrogate", "a\ud800", false],
  ["asterisk", "*", true],
];

for (const [name, text, legacy] of ATTACKS) {
  Deno.test(`service id attack: ${name}`, () => {
    assertEquals(parseServiceId(text).ok, false);
    assertEquals(parseServiceId(text, { legacy: true }).ok, legacy);
  });
}

Deno.test("bytes that are not strict UTF-8 are no service id in either grammar", () => {
  const bad = [[0xff], [0x61, 0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xe2, 0x82], [0x80]];
  for (const bytes of bad) {
    assertEquals(decode(Uint8Array.from(bytes), false).ok, false);
    assertEquals(decode(Uint8Array.from(bytes), true).ok, false);
  }
});

Deno.test("two byte strings never become one id", () => {
  const plain = decode(Uint8Array.of(0x61), true);
  const marked = decode(Uint8Array.of(0xef, 0xbb, 0xbf, 0x61), true);
  assert(plain.ok && marked.ok);
  assert(plain.value !== marked.value);
  assertEquals(utf8(marked.value).length, 4);
});

Deno.test("text is decoded from a range and only from inside its array", () => {
  const bytes = utf8("xxgrüß!");
  assertEquals(decodeUtf8(bytes, 2, 6), "grüß");
  assertEquals(decodeUtf8(bytes, 2, 5), null);
  assertEquals(decodeUtf8(bytes, 0, bytes.length + 1), null);
  assertEquals(decodeUtf8(bytes, -1, 1), null);
  assertEquals(decodeUtf8(bytes, 3, 0), "");
});

Deno.test("safe texts may have lines but no other controls", () => {
  assertEquals(parseSafeText("two\n\tlines\r", 100), { ok: true, value: "two\n\tlines\r" });
  for (const bad of ["", "a\0", "a\u001b", "a\u007f", "\ud800", "é".repeat(3)]) assertEquals(parseSafeText(bad, 5).ok, false);
});

Deno.test("durations need units, longest first", () => {
  const good: readonly (readonly [string, number])[] = [
    ["720h", 2_592_000_000],
    ["30s", 30_000],
    ["5m", 300_000],
    ["250ms", 250],
    ["1h30m", 5_400_000],
    ["1d2h3m4s5ms", 93_784_005],
    ["0s", 0],
  ];
  for (const [text, ms] of good) assertEquals(parseDuration(text), { ok: true, value: ms }, text);
  const bad = ["", "30", "s", "-1s", "1.5s", "1s1s", "30m1h", "1 h", "1H", "1sec", "1mss", "1e3s", "999999999999h", "٣s", "1s\n"];
  for (const text of bad) assertEquals(parseDuration(text).ok, false, text);
});

Deno.test("sizes are decimal or binary by their unit", () => {
  const good: readonly (readonly [string, number])[] = [["0", 0], ["512", 512], ["512B", 512], ["64KiB", 65536], ["10MB", 1e7], [
    "1GiB",
    2 ** 30,
  ]];
  for (const [text, size] of good) assertEquals(parseByteSize(text), { ok: true, value: size }, text);
  for (const text of ["", "64k", "1M", "-1", "1.5MB", "1 MB", "0x10", "MB", "1PiB", "999999999999999TiB", "1constructor"]) {
    assertEquals(parseByteSize(text).ok, false, text);
  }
});
