import { assert, assertEquals } from "@std/assert";
import { CERT_SYMBOLS } from "../../ffi/certs/symbols.ts";
import { QUICHE_SYMBOLS } from "../../ffi/quiche/symbols.ts";
import { TLS_SYMBOLS } from "../../ffi/tls/symbols.ts";
import { MACHINES } from "../../src/io/native_machine.ts";
import { exportedSymbols } from "./elf.ts";
import { carriers, readDeclarations } from "./header.ts";

const LIBRARY = new URL("../../lib/linux-x64/", import.meta.url);
const declared = readDeclarations(Deno.readTextFileSync(new URL("postern_native.h", LIBRARY)));
const TABLES = { QUICHE_SYMBOLS, TLS_SYMBOLS, CERT_SYMBOLS } as const;

for (const machine of Object.values(MACHINES)) {
  Deno.test(`the library of ${machine.name} exports all 174 functions of quiche, those of the header, and nothing else`, () => {
    const exported = exportedSymbols(Deno.readFileSync(new URL(`../${machine.name}/libpostern_native.so`, LIBRARY)));
    assertEquals(exported.filter((name) => name.startsWith("quiche_")).length, 174);
    const own = exported.filter((name) => !name.startsWith("quiche_"));
    assertEquals(own, [...declared.keys()].filter((name) => name.startsWith("postern_")).sort());
    assertEquals([...declared.keys()].filter((name) => !exported.includes(name)), []);
  });
}

for (const [table, symbols] of Object.entries(TABLES)) {
  Deno.test(`every row of ${table} has the header's arity and types`, () => {
    const wrong: string[] = [];
    for (const [name, row] of Object.entries<Deno.ForeignFunction>(symbols)) {
      const declaration = declared.get(name);
      if (declaration === undefined) {
        wrong.push(`${name}: not in the header`);
        continue;
      }
      const types = declaration.parameters.map(({ type }) => type);
      if (types.length !== row.parameters.length) {
        wrong.push(`${name}: ${types.length} parameters in C, ${row.parameters.length} here`);
      }
      row.parameters.forEach((given, index) => {
        const type = types[index] ?? "";
        if (!carriers(type, false).includes(String(given))) {
          wrong.push(`${name}: parameter ${index} is ${type} in C, ${given} here`);
        }
      });
      if (!carriers(declaration.result, true).includes(String(row.result))) {
        wrong.push(`${name}: the result is ${declaration.result} in C, ${row.result} here`);
      }
    }
    assertEquals(wrong, []);
  });
}

Deno.test("the comment beside each row names the header's parameters in their order", () => {
  const wrong: string[] = [];
  for (const path of ["quiche/symbols.ts", "tls/symbols.ts", "certs/symbols.ts"]) {
    const source = Deno.readTextFileSync(new URL(`../../ffi/${path}`, import.meta.url));
    for (const match of source.matchAll(/^ {2}(\w+): \{ parameters: .*\}, \/\/ (.*)$/gm)) {
      const [, name = "", comment = ""] = match;
      const names = comment.replace(/ \([^)]*\)/g, "").split(", ");
      const expected = declared.get(name)?.parameters.map((parameter) => parameter.name) ?? [];
      if (names.join() !== expected.join()) wrong.push(`${name}: ${names.join()} is not ${expected.join()}`);
    }
  }
  assertEquals(wrong, []);
});

Deno.test("every declaration that we made is used by a table", () => {
  const used = new Set(Object.values(TABLES).flatMap((symbols) => Object.keys(symbols)));
  assertEquals([...declared.keys()].filter((name) => !used.has(name)), []);
  assert(used.size > 100);
});

Deno.test("quiche_config_verify_peer, which would weaken the verification, is in no table", () => {
  assert(!Object.keys(QUICHE_SYMBOLS).includes("quiche_config_verify_peer"));
  assert(!declared.has("quiche_config_verify_peer"));
});
