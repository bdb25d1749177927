/**
 * Agents and connectors behind real NATs of every kind: where a direct path can be, it is found, and where not, the server carries
 * everything all the same. Some cells of the table; `deno task soak nat` goes through all of it.
 */
import { assertEquals } from "@std/assert";
import { join, resolve } from "node:path";
import { needing } from "../../tools/needs.ts";
import { type Cell, IPV6_CELL, isDirect, PLACES, routeIn, TABLE } from "./nat_cell_fixture.ts";
import { NAT_NEEDS } from "./nat_fixture.ts";
import { makePki } from "./pki_fixture.ts";
import { TemporaryFolder } from "./processes_fixture.ts";

const SHORT: readonly Cell[] = [
  { agent: "restricted", connector: "restricted" },
  { agent: "public", connector: "symmetric" },
  { agent: "symmetric", connector: "restricted" },
  { agent: "symmetric", connector: "same" },
  IPV6_CELL,
];

for (const cell of SHORT) {
  const name = `agent ${cell.agent}, connector ${cell.connector}: ${isDirect(cell) ? "direct" : "by the server"}`;
  Deno.test(needing(NAT_NEEDS, name, async () => {
    using folder = new TemporaryFolder();
    const pki = await makePki(join(folder.path, "pki"));
    assertEquals(await routeIn(pki, folder.path, cell), isDirect(cell) ? "direct" : "relay");
  }));
}

Deno.test("the manual's table of NATs is the one that is tested", () => {
  const manual = Deno.readTextFileSync(resolve(import.meta.dirname ?? ".", "..", "..", "docs", "OPERATIONS.md"));
  const rows = PLACES.map((_, i) => {
    const ways = TABLE.slice(i * PLACES.length, (i + 1) * PLACES.length).map((cell) => isDirect(cell) ? "direct" : "server");
    return ways.join(" ");
  });
  const first = manual.split("\n").findIndex((line) => line.startsWith("| Agent \\ connector"));
  const found = manual.split("\n").slice(first + 2, first + 2 + PLACES.length).map((line) =>
    line.split("|").slice(2, -1).map((word) => word.trim()).join(" ")
  );
  assertEquals(found, rows);
});
