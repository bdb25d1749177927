/**
 * Many short connections over ways that lose packets on both sides of the server: an end is a byte like any other. Long transfers meet
 * few ends; these are hardly anything else, with bytes and end in one packet, apart, or with nothing before the end.
 */
import { assert, assertEquals } from "@std/assert";
import { BadPathGateway, type TransferEnd } from "./bad_path_fixture.ts";

const CONNECTIONS = 1_000, AT_ONCE = 50;
const BYTES = [0, 1, 700, 5_000, 33_000];
/** An end so long after the last byte meets its acknowledgement on the way. */
const END_AFTER_MS = [0, 5, 20, 40];
const TROUBLE = { loss: 0.02, reorder: 0.02, duplicate: 0.01 };

Deno.test({
  name: "a thousand short connections over paths that lose: every byte and every end arrives",
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    await using gateway = await BadPathGateway.start({ agent: { ...TROUBLE, seed: 41 }, connector: { ...TROUBLE, seed: 42 } });
    const ends: TransferEnd[] = [];
    let next = 0;
    await Promise.all(Array.from({ length: AT_ONCE }, async () => {
      for (let i = next++; i < CONNECTIONS; i = next++) {
        ends.push(await gateway.transfer(BYTES[i % BYTES.length] ?? 0, i, "forward", END_AFTER_MS[i % END_AFTER_MS.length]));
      }
    }));
    const count = (wanted: TransferEnd) => ends.filter((end) => end === wanted).length;
    assertEquals([count("intact"), count("reset"), count("cut")], [CONNECTIONS, 0, 0]);
    assert(gateway.counts.lost > 0, "the paths were good ones");
  },
});
