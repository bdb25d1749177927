/**
 * Four properties of every codec: round trip, length, bit flips, truncation. POSTERN_FUZZ_RUNS is the number of runs of all
 * of them together (20,000 if unset); POSTERN_FUZZ_SEED repeats a run.
 */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { bytesEqualAt, toHex } from "../../src/base/mod.ts";
import { type Codec, CODECS } from "./codecs.ts";

const RUNS_TOTAL = Number(Deno.env.get("POSTERN_FUZZ_RUNS") ?? 20_000);
const seed = Deno.env.get("POSTERN_FUZZ_SEED");
const PARAMETERS = { numRuns: Math.ceil(RUNS_TOTAL / (4 * CODECS.length)), ...(seed === undefined ? {} : { seed: Number(seed) }) };

/** Messages never stand at the start of their buffer, and what surrounds them is not zero. */
const OFFSET = 7;
const FILL = 0xa5;

function surroundings(codec: Codec<unknown>): Uint8Array {
  return new Uint8Array(OFFSET + codec.maxBytes + 1100).fill(FILL);
}

for (const codec of CODECS) {
  Deno.test(`${codec.name}: what is encoded is decoded, and nothing else is touched`, () => {
    fc.assert(
      fc.property(codec.values, (value) => {
        const bytes = surroundings(codec);
        const length = codec.encode(bytes, OFFSET, value);
        assert(length > 0 && length <= codec.maxBytes);
        assert(bytes.every((byte, at) => at >= OFFSET && at < OFFSET + length || byte === FILL), "wrote outside");
        assertEquals(codec.decode(bytes.slice(0, OFFSET + length), OFFSET, length), { value, length });
      }),
      PARAMETERS,
    );
  });

  Deno.test(`${codec.name}: a message ends where its length says`, () => {
    fc.assert(
      fc.property(codec.values, fc.uint8Array({ minLength: 1, maxLength: 40 }), (value, tail) => {
        const bytes = surroundings(codec);
        const length = codec.encode(bytes, OFFSET, value);
        bytes.set(tail, OFFSET + length);
        const decoded = codec.decode(bytes, OFFSET, length + tail.length);
        if (codec.tail === "refused") assert("malformed" in decoded, "trailing bytes were taken");
        else if (codec.tail !== "value") assertEquals(decoded, { value, length });
      }),
      PARAMETERS,
    );
  });

  Deno.test(`${codec.name}: flipped bits are refused or give a message that is written the same way`, () => {
    const flips = fc.array(fc.nat(), { minLength: 1, maxLength: 8 });
    const noise = fc.oneof(fc.constant(new Uint8Array()), fc.uint8Array({ maxLength: 64 }));
    fc.assert(
      fc.property(codec.values, flips, noise, (value, bits, overwrite) => {
        const bytes = surroundings(codec);
        const length = codec.encode(bytes, OFFSET, value);
        bytes.set(overwrite.subarray(0, length), OFFSET + (bits[0] ?? 0) % (length - Math.min(length, overwrite.length) + 1));
        for (const bit of bits) {
          const at = OFFSET + (bit >> 3) % length;
          bytes[at] = (bytes[at] ?? 0) ^ 1 << (bit & 7);
        }
        checkTotal(codec, bytes, length);
      }),
      PARAMETERS,
    );
  });

  Deno.test(`${codec.name}: a cut message is never taken for a whole one`, () => {
    fc.assert(
      fc.property(codec.values, fc.nat(), (value, cut) => {
        const bytes = surroundings(codec);
        const length = codec.encode(bytes, OFFSET, value);
        const kept = cut % length;
        const decoded = codec.decode(bytes.slice(0, OFFSET + kept), OFFSET, kept);
        if (codec.tail === "value") return;
        if (codec.tail === "data") assert("need" in decoded && decoded.need > kept && decoded.need <= length, "a wrong wish");
        else assert("malformed" in decoded, "a prefix was taken");
      }),
      PARAMETERS,
    );
  });
}

/** The decoder does not throw, and what it takes is encoded to the same bytes; skipped fields are the only ones to vanish. */
function checkTotal(codec: Codec<unknown>, bytes: Uint8Array, length: number): void {
  const decoded = codec.decode(bytes, OFFSET, length);
  if (!("value" in decoded)) return;
  const again = surroundings(codec);
  const lengthAgain = codec.encode(again, OFFSET, decoded.value);
  const isSame = lengthAgain === decoded.length && bytesEqualAt(bytes, OFFSET, again, OFFSET, lengthAgain);
  const isSameValue = lengthAgain < decoded.length && codec.tail === "data";
  assert(isSame || isSameValue, `not canonical: ${toHex(bytes.subarray(OFFSET, OFFSET + decoded.length))}`);
  assertEquals(codec.decode(again, OFFSET, lengthAgain), { value: decoded.value, length: lengthAgain });
}
