/** The two ends of a link: what may be lost and what may not, when the other end takes nothing for a while. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { createWorkerGroup, WorkerCells } from "../../control/mod.ts";
import type { Libc } from "../../../io/mod.ts";
import { LINK_WAITING_BYTES_MAX } from "../limits.ts";
import { openLink } from "./group.ts";
import { RecordKind } from "./records.ts";

const BYTES = new Uint8Array(64 * 1024);

function pair() {
  const woken: number[] = [];
  const libc = { eventfdSignal: (fd: number) => woken.push(fd) } as unknown as Libc;
  const groups = createWorkerGroup([100, 101]);
  const [first, second] = groups.map((group) =>
    openLink(libc, group, new WorkerCells(group.cells, group.worker), group.worker === 0 ? 1 : 0)
  );
  const [cells] = groups.map((group) => new WorkerCells(group.cells, 1));
  assert(first !== undefined && second !== undefined && cells !== undefined);
  return { first, second, cells, woken };
}

Deno.test("a full ring drops datagrams and counts them; what must arrive waits, and comes in its order", () => {
  const { first, second } = pair();
  let taken = 0;
  while (first.offer(RecordKind.datagram, 1, 2, BYTES, 0, BYTES.length)) taken++;
  assertEquals(first.dropped, 1);
  assert(first.isCongested === false, "streams have room that datagrams have not");
  let told = 0;
  while (!first.hasWaiting) first.send(RecordKind.stream, 1, told++, BYTES);
  assert(first.isCongested);
  first.tell(RecordKind.close, 1, 0, { isApplication: true, code: 1, reason: "" });
  // Nothing overtakes what waits.
  assert(!first.offer(RecordKind.datagram, 1, 2, BYTES, 0, 1));

  const heard: number[] = [];
  for (let rounds = 0; rounds < 100 && heard.length < taken + told + 1; rounds++) {
    first.flush();
    second.take(({ reader: { kind } }) => heard.push(kind));
  }
  const datagrams = new Array(taken).fill(RecordKind.datagram), streams = new Array(told).fill(RecordKind.stream);
  assertEquals(heard, [...datagrams, ...streams, RecordKind.close]);
  assert(!first.hasWaiting && first.hasRoomAgain() && !first.hasRoomAgain());
});

Deno.test("who sleeps is woken, once", () => {
  const { first, cells, woken } = pair();
  first.send(RecordKind.keepAlive, 1);
  first.flush();
  assertEquals(woken, []);
  cells.isAsleep = true;
  for (let i = 0; i < 3; i++) {
    first.send(RecordKind.keepAlive, 1);
    first.flush();
  }
  assertEquals(woken, [101]);
});

Deno.test("what waits for another worker that takes nothing at all has a bound", () => {
  const { first } = pair();
  const records = Math.ceil(LINK_WAITING_BYTES_MAX / BYTES.length) + 200;
  assertThrows(
    () => {
      for (let i = 0; i < records; i++) first.send(RecordKind.stream, 1, 0, BYTES);
    },
    Error,
    "worker 1 takes nothing any more",
  );
});
