import { assertEquals } from "@std/assert";
import { limitList, parseLimit } from "./limit.ts";

Deno.test("a limit is a count, a rate with or without a burst, or off", () => {
  assertEquals(parseLimit("connections-per-all=12"), { name: "connections-per-all", amount: 12, burst: null });
  assertEquals(parseLimit("handshakes-per-source=20/40"), { name: "handshakes-per-source", amount: 20, burst: 40 });
  assertEquals(parseLimit("signals-per-connection=5"), { name: "signals-per-connection", amount: 5, burst: null });
  assertEquals(parseLimit("datagrams-per-all=off"), { name: "datagrams-per-all", amount: null, burst: null });
});

Deno.test("what is no limit is refused with what was expected", () => {
  const texts = ["", "connections", "datagrams=5", "connections-per-all=off", "connections-per-all=0", "handshakes-per-all=-1"];
  texts.push(
    "handshakes-per-all=1/0",
    "handshakes-per-all=1/2/3",
    "handshakes-per-all=1=2",
    "signals-per-all=1.5",
    "constructor=1",
  );
  for (const text of texts) assertEquals(typeof parseLimit(text), "string", text);
  // A burst below the largest datagram would stop it for ever.
  assertEquals(typeof parseLimit("bytes-per-connection=1000"), "string");
  assertEquals(typeof parseLimit("bytes-per-connection=1000000/1000"), "string");
  assertEquals(typeof parseLimit("bytes-per-connection=1000/65536"), "object");
});

Deno.test("a file holds a list or an object of limits", () => {
  const expected = [{ name: "signals-per-all", amount: 5, burst: null }, { name: "connections-per-all", amount: 7, burst: null }];
  assertEquals(limitList.parse(["signals-per-all=5", "connections-per-all=7"]), expected as never);
  assertEquals(limitList.parse({ "signals-per-all": "5", "connections-per-all": 7 }), expected as never);
});
