import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { createRing, RingReader, RingWriter } from "./record_ring.ts";

const RING_BYTES = 4096;

function pair(): { readonly writer: RingWriter; readonly reader: RingReader } {
  const ring = createRing(RING_BYTES);
  return { writer: new RingWriter(ring), reader: new RingReader(ring) };
}

function bytesOf(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 7 + seed) & 0xff);
}

Deno.test("records come out as they went in, in order, whatever the sizes and however far the reader is behind", () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant("push" as const), length: fc.nat(700), spare: fc.constantFrom(0, 1024) }),
    fc.record({ kind: fc.constant("publish" as const) }),
    fc.record({ kind: fc.constant("read" as const), count: fc.nat(8) }),
  );
  // As long as it may be: a few steps never come to the end of the ring.
  fc.assert(fc.property(fc.array(step, { maxLength: 300, size: "max" }), (steps) => {
    const { writer, reader } = pair();
    const written: number[] = [];
    let published = 0, read = 0;
    for (const [number, one] of steps.entries()) {
      if (one.kind === "push") {
        const bytes = bytesOf(one.length + 3, number);
        if (writer.push(1 + number % 5, number, number * 3, bytes, 3, one.length, one.spare)) written.push(number);
      } else if (one.kind === "publish") {
        writer.publish();
        published = written.length;
      } else {
        for (let i = 0; i < one.count; i++) {
          const is = read < published;
          assertEquals(reader.next(), is);
          if (!is) break;
          const number = written[read++] ?? -1;
          const pushed = steps[number];
          const length = pushed?.kind === "push" ? pushed.length : -1;
          assertEquals([reader.kind, reader.connection, reader.argument, reader.length], [
            1 + number % 5,
            number,
            number * 3,
            length,
          ]);
          assertEquals(reader.bytes.slice(reader.at, reader.at + length), bytesOf(length + 3, number).subarray(3));
        }
        reader.release();
      }
    }
  }));
});

Deno.test("what the reader has not released stays: a full ring takes nothing, and a spare part is left to others", () => {
  const { writer, reader } = pair();
  const bytes = new Uint8Array(1000);
  let count = 0;
  while (writer.push(1, 0, 0, bytes, 0, bytes.length, 1024)) count++;
  assert(count > 0);
  assert(writer.push(1, 0, 0, bytes, 0, 900, 0), "what needs no spare part still fits");
  assert(!writer.push(1, 0, 0, bytes, 0, bytes.length, 0));
  writer.publish();
  assert(reader.next());
  assert(!writer.push(1, 0, 0, bytes, 0, bytes.length, 0), "read is not released");
  reader.release();
  assert(writer.push(1, 0, 0, bytes, 0, 900, 0));
});
