/** What the table answers right after a change: it keeps its last answer. */
import { assertEquals } from "@std/assert";
import { CidTable, keyOf } from "./cid_table.ts";

Deno.test("a change of an ID's owner is seen by the next look-up", () => {
  let next = 1;
  const table = new CidTable<string>((bytes) => bytes.fill(next++));
  const [one, other] = [table.issue(), table.issue()];
  const key = keyOf(one);
  assertEquals(table.find(key), undefined);
  table.enter(one, "first");
  assertEquals([table.find(key), table.find(key)], ["first", "first"]);
  table.enter(other, "second");
  assertEquals([table.find(keyOf(other)), table.find(key)], ["second", "first"]);
  table.retire(one);
  assertEquals([table.find(key), table.find(key)], [null, null]);
  table.remove(one);
  assertEquals(table.find(key), undefined);
  assertEquals(table.find(keyOf(other)), "second");
});
