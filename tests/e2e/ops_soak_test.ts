/** The short form of a long run, so that it is known to work; `deno task soak scrapes` runs the long form. */
import { assert, assertEquals } from "@std/assert";
import { runSoak, SOAKS } from "../bench/soak/mod.ts";

const SCALE = 0.02;

Deno.test("scrapes and aborted handshakes beside relayed traffic: all are answered, nothing is lost, nothing grows", async () => {
  const soak = SOAKS.find(({ name }) => name === "scrapes");
  assert(soak !== undefined);
  const { checks, isOk } = await runSoak(soak, SCALE, () => {});
  assertEquals(checks.filter((check) => !check.isOk), []);
  assert(isOk);
});

Deno.test("every long run has a name of its own, a line about it and its usual time", () => {
  assertEquals(new Set(SOAKS.map(({ name }) => name)).size, SOAKS.length);
  for (const { name, about, usual } of SOAKS) {
    assert(/^[a-z]+$/.test(name) && about.length > 0 && !about.includes("\n") && /^\d+ (s|min|h)$/.test(usual), name);
  }
});
