/** Losses are told once, and again only after they had ended. */
import { assertEquals } from "@std/assert";
import { QUEUE_WARNING_MS } from "./limits.ts";
import { QueueWarning } from "./queue_warning.ts";

Deno.test("packets that find no room are told once, however many they are, and again when it begins anew", () => {
  const told: unknown[] = [];
  const warning = new QueueWarning((event, _message, fields) => void told.push([event, fields["reason"], fields["queue_max"]]));
  warning.lost("registration", "waiting", 0, 64, 0);
  assertEquals(told, []);
  for (let nowMs = 0; nowMs < 10 * QUEUE_WARNING_MS; nowMs += QUEUE_WARNING_MS / 4) {
    warning.lost("send", "queue", 100, 4_096, nowMs);
  }
  assertEquals(told, [["datagram-dropped", "queue", 4_096]]);
  warning.lost("registration", "waiting", 1, 64, 11 * QUEUE_WARNING_MS);
  assertEquals(told.length, 2);
});
