import { assertEquals } from "@std/assert";
import { linkDrops } from "./link_drops.ts";

const COUNTS = bytesOf(`Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    1000      10    0    0    0     0          0         0     1000      10    0    0    0     0       0          0
 post0:     200       2    0    5    0     0          0         0    64000     800    0   77    0     0       0          0
post10:     200       2    0    0    0     0          0         0    64000     800    0    1    0     0       0          0
`);

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

Deno.test("the kernel's drops on the way into an interface are found by its name", () => {
  assertEquals(["post0", "post10", "lo", "post1", ""].map((name) => linkDrops(name, COUNTS)), [77, 1, 0, null, null]);
  assertEquals(linkDrops("post0", bytesOf("post0: 1 2\n")), null);
});
