/** Where clients are placed: many at once, before the first of them has come, must not all go to one worker. */
import { assert, assertEquals } from "@std/assert";
import { createWorkerGroup, WorkerCells, type WorkerGroup } from "../../control/mod.ts";
import { steeringOf } from "./group.ts";

function steered(connections: readonly number[]) {
  const groups = createWorkerGroup(connections.map((_, worker) => worker));
  for (const [worker, count] of connections.entries()) {
    new WorkerCells((groups[worker] as WorkerGroup).cells, worker).tell(count, 0);
  }
  const first = groups[0] as WorkerGroup;
  return steeringOf(first, new WorkerCells(first.cells, 0), () => false);
}

Deno.test("clients that are placed together are spread although none of them has come, and fill up who has less", () => {
  for (const [connections, clients] of [[[0, 0], 64], [[5, 3], 32], [[0, 40], 60], [[10, 0, 0, 10], 80]] as const) {
    const { place } = steered(connections);
    const counts: number[] = [...connections];
    for (let i = 0; i < clients; i++) {
      const worker = place(i * 7 % 5 < 4 ? 0 : 1, 10);
      counts[worker] = (counts[worker] ?? 0) + 1;
    }
    const most = Math.max(...counts), least = Math.min(...counts);
    assert(most <= least * 1.1 + 3, `${connections} became ${counts}`);
  }
});

Deno.test("who was placed and never came is not counted for long", () => {
  const { place } = steered([0, 0]);
  for (let i = 0; i < 10; i++) place(0, 0);
  assertEquals(place(1, 5_000), 1);
  assertEquals(place(0, 5_000), 0);
});
