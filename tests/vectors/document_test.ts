/** docs/WIRE.md and the code agree: its vectors are the tested ones, and every clause that a comment cites exists. */

import { assert, assertEquals } from "@std/assert";
import { CloseCode, FIRST_BYTES, MALFORMED_WHYS, NACK_STATUS, RESULT_CODES } from "../../src/core/wire/mod.ts";
import { DOCUMENT, withVectors } from "./document.ts";
import datagrams from "./datagram.json" with { type: "json" };
import signals from "./signal.json" with { type: "json" };
import streams from "./stream.json" with { type: "json" };

const document = Deno.readTextFileSync(DOCUMENT);
const root = new URL("../../", import.meta.url);

Deno.test("the vectors of docs/WIRE.md are those of tests/vectors", () => {
  assertEquals(withVectors(document), document, "run: deno run -A tests/vectors/document.ts");
});

Deno.test("every clause of docs/WIRE.md that the source cites exists", () => {
  const clauses = new Set(Array.from(document.matchAll(/^##+ (\d+(?:\.\d+)?)\.? /gm), (match) => match[1]));
  let cited = 0;
  for (const file of sourceFiles(new URL("src/", root))) {
    for (const [citation, clause] of Deno.readTextFileSync(file).matchAll(/WIRE (\d+(?:\.\d+)?)/g)) {
      cited++;
      assert(clauses.has(clause), `${file.pathname} cites ${citation}`);
    }
  }
  assert(cited > 20, "the source cites the document");
});

function* sourceFiles(folder: URL): Generator<URL> {
  for (const entry of Deno.readDirSync(folder)) {
    if (entry.isDirectory) yield* sourceFiles(new URL(entry.name + "/", folder));
    else if (entry.name.endsWith(".ts")) yield new URL(entry.name, folder);
  }
}

Deno.test("every reason to refuse a message has a vector", () => {
  const shown = new Set(
    [...datagrams.vectors, ...streams.vectors, ...signals.vectors].map((vector) => "malformed" in vector ? vector.malformed : ""),
  );
  for (const why of Object.keys(MALFORMED_WHYS)) assert(shown.has(why), why);
});

Deno.test("the tables of docs/WIRE.md have the codes of the source", () => {
  const hex = (number: number, digits: number) => number.toString(16).padStart(digits, "0");
  const rows = document.split("\n").filter((line) => line.startsWith("|"));
  const hasRow = (...cells: readonly string[]) =>
    rows.some((row) => cells.every((cell, i) => row.split("|")[i + 1]?.trim().startsWith(cell)));
  RESULT_CODES.forEach((name, code) => assert(hasRow(String(code), name), name));
  for (const [name, status] of Object.entries(NACK_STATUS)) {
    assert(hasRow("`" + hex(status, 2) + "`", name.replace("-", " ")), name);
  }
  for (const row of FIRST_BYTES) assert(hasRow("`" + hex(row.first, 2) + "`", row.name), row.name);
  for (const code of Object.values(CloseCode)) assert(hasRow("0x" + hex(code, 2)), String(code));
});
