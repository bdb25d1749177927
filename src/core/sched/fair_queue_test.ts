import { assert, assertEquals } from "@std/assert";
import { type FairQueue, type FairQueueLimits, FairQueues } from "./fair_queue.ts";

const LIMITS: FairQueueLimits = { blocks: 64, blockBytes: 16, senderPacketsMax: 8, quantumBytes: 20 };
const room = new Uint8Array(4_096);

/** A packet that says whose it is and which of its. */
function push(queue: FairQueue, sender: number, number: number, bytes = 10): void {
  room.fill(sender, 0, bytes);
  room[1] = number;
  queue.push(sender, room, 0, bytes);
}

/** What comes out: `sender/number`. Every byte must be as it was put in. */
function take(queue: FairQueue): string | null {
  const length = queue.take(room, 1_000);
  if (length < 0) return null;
  const packet = room.subarray(1_000, 1_000 + length);
  for (const [at, byte] of packet.entries()) assert(at === 1 || byte === packet[0], `byte ${at} of ${length} is ${byte}`);
  return `${packet[0]}/${packet[1]}`;
}

function takeAll(queue: FairQueue): string[] {
  const taken = [];
  for (let next = take(queue); next !== null; next = take(queue)) taken.push(next);
  return taken;
}

Deno.test("one sender's packets leave in their order, of any length", () => {
  const all = new FairQueues(LIMITS);
  const queue = all.create();
  assert(queue.isEmpty);
  for (let i = 0; i < 7; i++) push(queue, 1, i, [2, 15, 16, 17, 32, 33, 200][i]);
  assertEquals(all.waiting, 7);
  assertEquals(takeAll(queue), ["1/0", "1/1", "1/2", "1/3", "1/4", "1/5", "1/6"]);
  assert(queue.isEmpty);
  assertEquals([all.waiting, all.store.freeBlocks], [0, LIMITS.blocks]);
});

Deno.test("who sends little waits for one round of the others, however much waits before", () => {
  const queue = new FairQueues(LIMITS).create();
  for (let i = 0; i < 8; i++) push(queue, 1, i);
  for (let i = 0; i < 8; i++) push(queue, 2, i);
  push(queue, 3, 0);
  assertEquals(takeAll(queue).indexOf("3/0"), 4);
});

Deno.test("shares are of bytes, not of packets", () => {
  const all = new FairQueues({ ...LIMITS, blocks: 1_000, senderPacketsMax: 1_000 });
  const queue = all.create();
  for (let i = 0; i < 200; i++) push(queue, 1, i, 50);
  for (let i = 0; i < 200; i++) push(queue, 2, i, 5);
  const bytes = [0, 0, 0];
  for (let i = 0; i < 110; i++) {
    const sender = Number(take(queue)?.split("/")[0]);
    bytes[sender] = (bytes[sender] ?? 0) + (sender === 1 ? 50 : 5);
  }
  const [, large = 0, small = 0] = bytes;
  assert(Math.abs(large - small) <= 50 + LIMITS.quantumBytes, `${large} and ${small} bytes`);
});

Deno.test("whose own queue is full loses its oldest, and nobody else loses anything", () => {
  const all = new FairQueues(LIMITS);
  const queue = all.create();
  push(queue, 2, 0);
  for (let i = 0; i < 20; i++) push(queue, 1, i);
  assertEquals(all.counters, { senderFull: 12, memoryFull: 0 });
  const taken = takeAll(queue);
  assertEquals(taken.filter((one) => one.startsWith("1/")), [12, 13, 14, 15, 16, 17, 18, 19].map((i) => `1/${i}`));
  assertEquals(taken.includes("2/0"), true);
});

Deno.test("when the memory is used up, who holds more than its share gives way to who holds less, of any destination", () => {
  const all = new FairQueues({ ...LIMITS, senderPacketsMax: 1_000 });
  const [busy, other] = [all.create(), all.create()];
  for (let i = 0; i < 100; i++) push(busy, 1, i);
  assertEquals([all.waiting, all.counters.memoryFull], [64, 36]);
  for (let i = 0; i < 5; i++) push(other, 2, i, 20);
  assertEquals(all.counters.memoryFull, 46);
  assertEquals(takeAll(other), ["2/0", "2/1", "2/2", "2/3", "2/4"]);
  const left = takeAll(busy);
  assertEquals([left.length, left.at(0), left.at(-1)], [54, "1/46", "1/99"]);
  assertEquals([all.waiting, all.store.freeBlocks], [0, LIMITS.blocks]);
});

Deno.test("a packet for which there is no room at all is dropped alone", () => {
  const all = new FairQueues(LIMITS);
  const queue = all.create();
  push(queue, 1, 0, 20);
  push(queue, 2, 0, 2_000);
  assertEquals(all.counters, { senderFull: 0, memoryFull: 1 });
  assertEquals(takeAll(queue), ["1/0"]);
});

Deno.test("what waits for a destination that is gone is counted and its memory free again", () => {
  const all = new FairQueues(LIMITS);
  const [gone, stays] = [all.create(), all.create()];
  for (let sender = 1; sender <= 5; sender++) for (let i = 0; i < sender; i++) push(gone, sender, i);
  push(stays, 1, 7);
  assertEquals(gone.clear(), 15);
  assert(gone.isEmpty);
  assertEquals([all.waiting, all.store.freeBlocks], [1, LIMITS.blocks - 1]);
  push(gone, 9, 1);
  assertEquals([takeAll(gone), takeAll(stays)], [["9/1"], ["1/7"]]);
});

Deno.test("whatever is put in and taken out, nothing is lost uncounted, mixed up or overtaken", () => {
  let state = 1;
  const random = (below: number) => (state = (state * 48_271) % 2_147_483_647) % below;
  const all = new FairQueues({ ...LIMITS, blocks: 80, senderPacketsMax: 3 });
  const queues = [all.create(), all.create(), all.create()];
  const next = new Map<string, number>();
  const seen = new Map<string, number>();
  let put = 0, taken = 0;
  for (let step = 0; step < 20_000; step++) {
    const at = random(queues.length), queue = queues[at] as FairQueue;
    if (random(100) < 55) {
      const sender = 1 + random(6), key = `${at}/${sender}`, number = next.get(key) ?? 0;
      next.set(key, number + 1);
      push(queue, sender, number % 256, 2 + random(60));
      put++;
      continue;
    }
    const [sender, number] = take(queue)?.split("/").map(Number) ?? [];
    if (sender === undefined || number === undefined) continue;
    taken++;
    const key = `${at}/${sender}`, last = seen.get(key) ?? -1;
    const ahead = (number - last + 256) % 256;
    assert(ahead > 0 && ahead < 200, `${key}: ${number} after ${last}`);
    seen.set(key, number);
  }
  const { senderFull, memoryFull } = all.counters;
  assertEquals(put, taken + senderFull + memoryFull + all.waiting);
  assert(memoryFull > 0 && senderFull > 0 && taken > 5_000);
});
