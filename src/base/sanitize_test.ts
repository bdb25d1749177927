import { assert, assertEquals } from "@std/assert";
import { quoteForShell, sanitizeForLog } from "./sanitize.ts";

Deno.test("what prints stays, what does not is escaped", () => {
  const cases: readonly (readonly [string, string])[] = [
    ["web-app.1", "web-app.1"],
    ["Grüße 世界 ✓", "Grüße 世界 ✓"],
    ["a\nb", "a\\u000ab"],
    ["\u0000", "\\u0000"],
    ["\u001b[31mred", "\\u001b[31mred"],
    ["\u007f\u0085", "\\u007f\\u0085"],
    ['say "x" \\', 'say \\"x\\" \\\\'],
    ["a\u202eb", "a\\u202eb"],
    ["a\u2028b\u00a0c", "a\\u2028b\\u00a0c"],
    ["\ufeffa", "\\ufeffa"],
    ["\u{e0001}", "\\udb40\\udc01"],
    ["\ud800", "\\ud800"],
    ["😀", "😀"],
  ];
  for (const [text, expected] of cases) assertEquals(sanitizeForLog(text), expected);
});

Deno.test("the cut never splits an escape or a character", () => {
  assertEquals(sanitizeForLog("ab\ncd", 7), "ab");
  assertEquals(sanitizeForLog("ab\ncd", 8), "ab\\u000a");
  assertEquals(sanitizeForLog("a\\", 2), "a");
  assertEquals(sanitizeForLog("a😀", 2), "a");
  assertEquals(sanitizeForLog("x".repeat(1000)).length, 256);
  assertEquals(sanitizeForLog("abc", 0), "");
});

Deno.test("no input leaves a control or an unescaped quotation mark", () => {
  let all = "";
  for (let code = 0; code < 0x3000; code++) all += String.fromCharCode(code);
  const clean = sanitizeForLog(all, 1e6);
  assert(!/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(clean));
  assert(!/(?<!\\)(?:\\\\)*"/.test(clean));
});

Deno.test("a hostile name stays one word of a shell", async () => {
  const hostile = ["a;rm -rf /", "`id`", "$(id)", "a|b", "a&&b", "it's", "", "a b\n\tc", "*?[~]{}<>()#!\\\r", "-n"];
  const script = "printf '%s\\0' " + hostile.map(quoteForShell).join(" ");
  const run = await new Deno.Command("/bin/sh", { args: ["-c", script], clearEnv: true }).output();
  assertEquals(new TextDecoder().decode(run.stdout), hostile.map((text) => text + "\0").join(""));
});
