/** Buckets, windows and tables of them: never more than promised, nothing lost, nothing forgiven. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { parseIp } from "../../base/mod.ts";
import { KeyedLimits, SlidingWindow, sourcePrefixKey, TokenBucket } from "./mod.ts";

Deno.test("a bucket grants its burst at once and its rate afterwards", () => {
  const bucket = new TokenBucket({ perSecond: 10, burst: 3 }, 0);
  assertEquals([1, 2, 3, 4].map(() => bucket.take(1, 0)), [true, true, true, false]);
  assertEquals([bucket.waitMs(1, 0), bucket.waitMs(2, 0), bucket.waitMs(4, 0)], [100, 200, Infinity]);
  assertEquals([bucket.take(1, 99), bucket.take(1, 100), bucket.take(1, 100)], [false, true, false]);
  assertEquals([bucket.isFull(399), bucket.isFull(400)], [false, true]);
  assertEquals(bucket.take(4, 1_000_000), false);
  assertEquals(bucket.take(3, 1_000_000), true);
});

Deno.test("a refused request takes nothing", () => {
  const bucket = new TokenBucket({ perSecond: 1, burst: 5 }, 0);
  assertEquals([bucket.take(3, 0), bucket.take(3, 0), bucket.take(2, 0)], [true, false, true]);
});

Deno.test("a clock that goes back gives nothing and takes nothing", () => {
  const bucket = new TokenBucket({ perSecond: 1000, burst: 1 }, 1000);
  assertEquals([bucket.take(1, 1000), bucket.take(1, 0), bucket.take(1, 500), bucket.take(1, 1001)], [true, false, false, true]);
  assertEquals(new TokenBucket({ perSecond: 1000, burst: 1 }, 1000).take(1, 0), true);
});

Deno.test("a new rate keeps what was saved up, up to the new burst", () => {
  const bucket = new TokenBucket({ perSecond: 1, burst: 10 }, 0);
  bucket.take(2, 0);
  bucket.setRate({ perSecond: 1000, burst: 5 }, 0);
  assertEquals([bucket.take(5, 0), bucket.take(1, 0), bucket.take(1, 1)], [true, false, true]);
});

Deno.test("rates that are no whole numbers from 1 are our own mistake", () => {
  for (
    const rate of [{ perSecond: 0, burst: 1 }, { perSecond: 1, burst: 0 }, { perSecond: 1.5, burst: 1 }, {
      perSecond: NaN,
      burst: 1,
    }]
  ) {
    assertThrows(() => new TokenBucket(rate, 0));
  }
});

Deno.test("over any time a bucket grants burst plus rate times time, no more, and no less to who asks often", () => {
  const gaps = fc.array(fc.integer({ min: 0, max: 500 }), { minLength: 1, maxLength: 200 });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 5000 }), fc.integer({ min: 1, max: 100 }), gaps, (perSecond, burst, waits) => {
      const bucket = new TokenBucket({ perSecond, burst }, 0);
      let nowMs = 0;
      let granted = 0;
      for (const wait of waits) {
        nowMs += wait;
        while (bucket.take(1, nowMs)) granted++;
        assert(granted <= burst + perSecond * nowMs / 1000);
      }
      // Asked in every millisecond until now, nothing would have been lost: the sum is exact.
      const greedy = new TokenBucket({ perSecond, burst: perSecond + burst }, 0);
      let taken = 0;
      for (let at = 0; at <= Math.min(nowMs, 2000); at++) while (greedy.take(1, at)) taken++;
      assertEquals(taken, perSecond + burst + Math.floor(perSecond * Math.min(nowMs, 2000) / 1000));
    }),
    { numRuns: 50 },
  );
});

Deno.test("a window grants its limit in any span of its length", () => {
  const window = new SlidingWindow(3, 1000);
  assertEquals([0, 400, 800, 999].map((at) => window.take(at)), [true, true, true, false]);
  assertEquals([window.waitMs(999), window.count(999)], [1, 3]);
  assertEquals([window.take(1000), window.take(1001), window.waitMs(1001)], [true, false, 399]);
  assertEquals([window.isEmpty(1999), window.isEmpty(2000), window.count(2000)], [false, true, 0]);
  assertThrows(() => new SlidingWindow(0, 1000));
});

Deno.test("a window agrees with the plain definition", () => {
  const gaps = fc.array(fc.integer({ min: 0, max: 300 }), { maxLength: 100 });
  fc.assert(fc.property(fc.integer({ min: 1, max: 8 }), gaps, (limit, waits) => {
    const window = new SlidingWindow(limit, 1000);
    const granted: number[] = [];
    let nowMs = 5;
    for (const wait of waits) {
      nowMs += wait;
      const recent = granted.filter((at) => at > nowMs - 1000).length;
      assertEquals(window.count(nowMs), recent);
      const expected = recent < limit;
      assertEquals(window.take(nowMs), expected);
      if (expected) granted.push(nowMs);
    }
  }));
});

function keyed(keysMax: number): KeyedLimits<TokenBucket> {
  return new KeyedLimits({
    keysMax,
    create: (nowMs) => new TokenBucket({ perSecond: 1, burst: 1 }, nowMs),
    isIdle: (bucket, nowMs) => bucket.isFull(nowMs),
  });
}

Deno.test("keys have limits of their own", () => {
  const limits = keyed(10);
  assertEquals([limits.of("a", 0).take(1, 0), limits.of("a", 0).take(1, 0), limits.of("b", 0).take(1, 0)], [true, false, true]);
});

Deno.test("a flood of keys stays within the bound, forgives nobody and shares one limiter", () => {
  const limits = keyed(2);
  limits.of("a", 0).take(1, 0);
  limits.of("b", 0).take(1, 0);
  assertEquals(["c", "d", "e"].map((key) => limits.of(key, 0).take(1, 0)), [true, false, false]);
  assertEquals([limits.size, limits.sharedUses], [2, 3]);
  assertEquals(limits.of("a", 500).take(1, 500), false);
  // After a second nothing is remembered of "a" and "b" that forgetting would change: the one used longest ago makes room.
  assertEquals(limits.of("f", 1000).take(1, 1000), true);
  assertEquals(limits.of("f", 1000).take(1, 1000), false);
  assertEquals(limits.size, 2);
});

Deno.test("a source is one IPv4 address or one IPv6 network of 64 bits", () => {
  const key = (text: string) => {
    const bytes = parseIp(text);
    assert(bytes !== null);
    return sourcePrefixKey(Uint8Array.of(9, ...bytes), 1, bytes.length === 4 ? 4 : 16);
  };
  assertEquals(key("192.0.2.1"), key("::ffff:192.0.2.1"));
  assertEquals(key("2001:db8::1"), key("2001:db8::ffff:0:0:2"));
  const different = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8:0:1::1", "::1"].map(key);
  assertEquals(new Set(different).size, different.length);
});
