/** Rotation of connection IDs: when, and that no ID is dropped before the peer has retired it. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { CidRotation, ROTATION_TABLE, type RotationEvent, type RotationState } from "./cid_rotation.ts";

const OPTIONS = { intervalMs: 1000, idsMax: 4 };
const id = (n: number) => Uint8Array.of(n, n >> 8, 7);

function inState(state: RotationState): CidRotation {
  const rotation = new CidRotation(OPTIONS, [id(0)]);
  if (state === "idle") return rotation;
  rotation.start(0, 0);
  if (state === "issuing") rotation.isDue(1000);
  for (let n = 1; state === "full" && n < OPTIONS.idsMax; n++) {
    rotation.isDue(1000 * n);
    rotation.issued(id(n), 1000 * n);
  }
  if (state === "stopped") rotation.stop();
  assertEquals(rotation.state, state);
  return rotation;
}

/** Makes the event happen by the calls that the endpoint makes. */
const APPLY: Readonly<Record<RotationEvent, (rotation: CidRotation) => void>> = {
  start: (rotation) => rotation.start(0, 0),
  due: (rotation) => assert(rotation.isDue(1e9), "not due"),
  issued: (rotation) => rotation.issued(id(99), 0),
  filled(rotation) {
    while (rotation.ids.length < OPTIONS.idsMax) {
      if (rotation.ids.length > 1) assert(rotation.isDue(1e9), "not due");
      rotation.issued(id(99), 0);
    }
  },
  refused: (rotation) => rotation.refused(0),
  retired: (rotation) => rotation.retired(rotation.ids[0] ?? id(0)),
  stop: (rotation) => rotation.stop(),
};

Deno.test("every state x event", () => {
  const rows: string[] = [];
  for (const [state, events] of Object.entries(ROTATION_TABLE) as [RotationState, Record<RotationEvent, RotationState | null>][]) {
    const cells: string[] = [];
    for (const [event, next] of Object.entries(events) as [RotationEvent, RotationState | null][]) {
      const rotation = inState(state);
      // A place in the last issuing state is needed for "filled" to differ from "issued"; a stopped one has no IDs to retire.
      const isSilent = state === "stopped" && event === "retired" || state !== "issuing" && event === "filled";
      if (!isSilent && next === null) assertThrows(() => APPLY[event](rotation), `${state} + ${event}`);
      else if (!isSilent) {
        APPLY[event](rotation);
        assertEquals(rotation.state, next, `${state} + ${event}`);
      }
      cells.push(`${event}:${next ?? "-"}`);
    }
    rows.push(`${state} ${cells.join(" ")}`);
  }
  assertEquals(rows, [
    "idle start:waiting due:- issued:- filled:- refused:- retired:idle stop:stopped",
    "waiting start:- due:issuing issued:- filled:- refused:- retired:waiting stop:stopped",
    "issuing start:- due:- issued:waiting filled:full refused:waiting retired:issuing stop:stopped",
    "full start:- due:- issued:- filled:- refused:- retired:waiting stop:stopped",
    "stopped start:- due:- issued:- filled:- refused:- retired:stopped stop:stopped",
  ]);
});

Deno.test("the first rotation falls anywhere in the interval, the next ones an interval apart", () => {
  const dues = [0, 0.25, 0.75].map((random) => {
    const rotation = new CidRotation(OPTIONS, [id(0)]);
    assertEquals(rotation.dueMs, Infinity);
    rotation.start(5000, random);
    return rotation.dueMs;
  });
  assertEquals(dues, [6000, 5750, 5250]);
  const rotation = inState("waiting");
  assertEquals([rotation.isDue(999), rotation.isDue(1000), rotation.isDue(1000)], [false, true, false]);
  rotation.issued(id(1), 1234);
  assertEquals([rotation.dueMs, rotation.rotations, rotation.ids], [2234, 1, [id(0), id(1)]]);
  assert(rotation.isDue(2234));
  rotation.refused(2300);
  assertEquals([rotation.dueMs, rotation.rotations, rotation.ids.length], [3300, 1, 2]);
});

Deno.test("an ID stays until the peer retires it, however many rounds pass", () => {
  const rotation = inState("full");
  assertEquals([rotation.ids.length, rotation.dueMs, rotation.isDue(1e9)], [4, Infinity, false]);
  assertEquals(rotation.retired(id(77)), false);
  assertEquals(rotation.state, "full");
  assertEquals([rotation.retired(id(0)), rotation.retired(id(0))], [true, false]);
  assertEquals([rotation.ids, rotation.isDue(1e9)], [[id(1), id(2), id(3)], true]);
});

Deno.test("the end gives back every ID, once", () => {
  const rotation = inState("full");
  assertEquals([rotation.stop().length, rotation.stop().length, rotation.dueMs], [4, 0, Infinity]);
  assertEquals(rotation.retired(id(0)), false);
});

Deno.test("over a thousand rotations the table of connections holds exactly the IDs that are live", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 2 }), { minLength: 1000, maxLength: 1000 }), (delays) => {
      const table = new Set<string>([id(0).join()]);
      const rotation = new CidRotation(OPTIONS, [id(0)]);
      // The peer retires the oldest when it has more than two, some turns late.
      const late: Uint8Array[] = [];
      rotation.start(0, 0);
      for (const [n, delay] of delays.entries()) {
        if (rotation.isDue(1000 * (n + 1))) {
          rotation.issued(id(n + 1), 1000 * (n + 1));
          table.add(id(n + 1).join());
        }
        const oldest = rotation.ids[late.length];
        if (rotation.ids.length - late.length > 2 && oldest !== undefined) late.push(oldest);
        if (delay === 0) { for (const one of late.splice(0)) if (rotation.retired(one)) table.delete(one.join()); }
        assert(table.size <= OPTIONS.idsMax);
        assertEquals([...table], rotation.ids.map((one) => one.join()));
      }
      assert(rotation.rotations > 300);
      for (const one of rotation.stop()) table.delete(one.join());
      assertEquals(table.size, 0);
    }),
    { numRuns: 20 },
  );
});
