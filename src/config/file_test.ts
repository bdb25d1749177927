/** Texts of configuration files, right and wrong. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { PosternError } from "../base/mod.ts";
import { CONFIG_FILE_MAX_BYTES, parseConfigFile } from "./mod.ts";

function parse(path: string, text: string | Uint8Array) {
  return parseConfigFile(path, typeof text === "string" ? new TextEncoder().encode(text) : text);
}

Deno.test("JSON and YAML give the same values", async () => {
  const json = await parse("a.json", '{\n\t"port": 1,\n\t"bind": ["a", "b"],\n\t"x": {"y": null}\n}');
  const yaml = await parse("a.yaml", "port: 1\nbind: [a, b]\nx:\n  y:\n");
  assertEquals(json.value, yaml.value);
  assertEquals((await parse("a.yaml", "")).value, {});
  assertEquals((await parse("a.conf", '{"port": 1}')).value, { port: 1 });
  assertEquals((await parse("a.json", "\ufeff{}")).value, {});
});

Deno.test("YAML 1.2 words: no, yes and 0777 are what they look like", async () => {
  assertEquals((await parse("a.yaml", "a: no\nb: yes\nc: true\nd: 08\ne: 1_0\n")).value, {
    a: "no",
    b: "yes",
    c: true,
    d: 8,
    e: "1_0",
  });
});

Deno.test("keys that begin with _ are comments, at any depth", async () => {
  const { value } = await parse("a.json", '{"_a": 1, "__proto__": {"x": 1}, "b": [{"_c": 1, "d": 2}]}');
  assertEquals(value, { b: [{ d: 2 }] });
  assertEquals(Object.getPrototypeOf(value), Object.prototype);
});

Deno.test("lines of keys and of items", async () => {
  for (
    const [path, text] of [["a.yaml", "a: 1\nb:\n  - c: 2\n    d: 3\n  - e\n"], [
      "a.json",
      '{"a": 1,\n"b":\n [{"c": 2,\n"d": 3},\n"e"]}',
    ]] as const
  ) {
    const { lineOf } = await parse(path, text);
    assertEquals([lineOf(["a"]), lineOf(["b"]), lineOf(["b", 0, "c"]), lineOf(["b", 0, "d"]), lineOf(["b", 1])], [1, 2, 3, 4, 5]);
    assertEquals(lineOf(["nothing"]), null);
  }
  const { lineOf } = await parse("a.yaml", "x: &x\n  y: 1\nz: *x\n");
  assertEquals(lineOf(["z", "y"]), 2);
});

const WRONG: readonly (readonly [what: string, path: string, text: string | Uint8Array, phrase: string])[] = [
  ["JSON with a comma too many", "a.json", '{"a": 1,\n}', "a.json:2: "],
  ["JSON cut off", "a.json", '{"a": ', "a.json"],
  ["YAML in a JSON file", "a.json", "a: 1\n", "not valid JSON"],
  ["a key twice in JSON", "a.json", '{"port": 1,\n"port": 2}', "a.json:2: Map keys must be unique"],
  ["a key twice in YAML", "a.yaml", "a: 1\na: 2\n", "a.yaml:2: Map keys must be unique"],
  ["a key twice deep inside", "a.json", '{"a": [{"b": 1, "b": 2}]}', "must be unique"],
  ["YAML that does not parse", "a.yaml", "a: [1,\nb: 2", "a.yaml:"],
  ["a foreign tag", "a.yaml", "a: !!js/function x\n", "a.yaml:1: "],
  [
    "an alias bomb",
    "a.yaml",
    "a: &a [x, x]\n" + [..."bcdefgh"].map((c, i) => `${c}: &${c} [${`*${"abcdefg"[i]}, `.repeat(9)}x]\n`).join(""),
    "alias",
  ],
  ["two documents", "a.yaml", "a: 1\n---\nb: 2\n", "a.yaml"],
  ["a list", "a.json", "[]", "must hold an object"],
  ["a text", "a.yaml", "hello\n", "must hold an object"],
  ["null", "a.json", "null", "must hold an object"],
  ["no UTF-8", "a.yaml", new Uint8Array([0x61, 0x3a, 0x20, 0xff]), "not UTF-8"],
  ["too long", "a.yaml", new Uint8Array(CONFIG_FILE_MAX_BYTES + 1).fill(0x20), "longer than"],
  ["too deep", "a.json", `{"a":${"[".repeat(40)}${"]".repeat(40)}}`, "nested deeper"],
];

for (const [what, path, text, phrase] of WRONG) {
  Deno.test(`refused with exit 2: ${what}`, async () => {
    const error = await assertRejects(() => parse(path, text), PosternError);
    assertEquals(error.exitCode, 2);
    assert(error.message.startsWith(path) && error.message.includes(phrase), error.message);
  });
}
