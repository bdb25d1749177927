// Each rule is broken once and kept once, where it applies and where it does not.
/// <reference lib="deno.unstable" />
import { assertEquals } from "@std/assert";
import plugin from "./house_rules.ts";

function broken(path: string, source: string): string[] {
  return Deno.lint.runPlugin(plugin, path, source).map(({ id, message }) => `${id}: ${message}`);
}

const WORLDLY: readonly (readonly [source: string, what: string])[] = [
  ["export const a = Deno.env.get('A');", "Deno"],
  ["fetch('http://a');", "fetch"],
  ["setTimeout(f, 1);", "setTimeout"],
  ["console.log(1);", "console"],
  ["export const a = performance.now();", "performance"],
  ["crypto.getRandomValues(b);", "crypto"],
  ["globalThis.fetch;", "globalThis"],
  ["export const a = Math.random();", "Math.random"],
  ["export const a = Date.now();", "Date.now"],
  ["export const a = new Date();", "new Date()"],
  ["export const a = new Promise(f);", "Promise"],
  ["await f();", "await"],
  ["for await (const a of b) f(a);", "await"],
  ["async function f() {}", "async function"],
  ["export const f = async () => {};", "async function"],
  ["export const f = { async g() {} };", "async function"],
];

for (const [source, what] of WORLDLY) {
  Deno.test(`src/core uses no ${what}: ${source}`, () => {
    assertEquals(broken("src/core/wire/a.ts", source), [`house/sans-io: src/core uses no ${what}`]);
    assertEquals(broken("src/core/wire/a_test.ts", source), []);
    assertEquals(broken("src/io/a.ts", source), []);
  });
}

Deno.test("words in comments, strings, keys and local names are no use of the world", () => {
  const source = `// Deno.env, fetch() and await
    export const a = "Deno.env" + \`fetch(\${b})\` + c.fetch() + d.crypto + new Date(now).getTime() + Math.max(1, 2);
    export const e = { console: 1, Deno: 2 }, now = (clock: { now(): number }) => clock.now();`;
  assertEquals(broken("src/core/wire/a.ts", source), []);
});

Deno.test("native code is called in ffi and in tests only", () => {
  const source = "Deno.dlopen('a', {}); Deno.UnsafePointer.of(b); new Deno.UnsafeCallback(c, d);";
  assertEquals(broken("src/io/a.ts", source), [
    "house/ffi-only: Deno.dlopen is used in ffi only",
    "house/ffi-only: Deno.UnsafePointer is used in ffi only",
    "house/ffi-only: Deno.UnsafeCallback is used in ffi only",
  ]);
  assertEquals(broken("main.ts", source).length, 3);
  assertEquals(broken("ffi/libc/a.ts", source), []);
  assertEquals(broken("tests/abi/layout.ts", source), []);
});

Deno.test("a function has at most seventy lines", () => {
  const source = (lines: number) => `export function f() {${"\n".repeat(lines - 1)}}`;
  assertEquals(broken("src/io/a.ts", source(70)), []);
  assertEquals(broken("src/io/a.ts", source(71)), ["house/function-length: a function has at most 70 lines, this one has 71"]);
  assertEquals(broken("src/io/a_test.ts", source(71)), []);
});

Deno.test("one way to say each thing", () => {
  const rule = (source: string) => broken("src/io/a.ts", source);
  assertEquals(rule("export enum A { B }"), ["house/plain-forms: no enum"]);
  assertEquals(rule("export default 1;"), ["house/plain-forms: no default export"]);
  assertEquals(rule("export class A extends B {}"), ["house/plain-forms: only errors are inherited from"]);
  assertEquals(rule("export class A extends TypeError {}"), []);
  assertEquals(rule("export class A extends Deno.errors.NotFound {}"), ["house/plain-forms: only errors are inherited from"]);
  assertEquals(rule("export class A { private b = 1; }"), ["house/plain-forms: no private or protected keyword"]);
  assertEquals(rule("export class A { protected b() {} }"), ["house/plain-forms: no private or protected keyword"]);
  assertEquals(rule("export class A { constructor(private readonly b: number) {} }"), ["house/plain-forms: no parameter property"]);
  assertEquals(rule("export class A { #b = 1; public c() { return this.#b; } }"), []);
});
