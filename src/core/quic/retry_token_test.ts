/** Tokens of Retry packets, under real AES-256-GCM. */
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { type Aead, RETRY_TOKEN_BYTES_MAX, type RetryContext, type RetryKey, RetryTokens } from "./retry_token.ts";

const NOW_MS = 1_760_000_000_000;
const CONTEXT: RetryContext = {
  address: Uint8Array.of(192, 0, 2, 1, 0x11, 0x51),
  retrySourceId: new Uint8Array(16).fill(7),
  version: 1,
};
const ORIGINAL = Uint8Array.from({ length: 18 }, (_, i) => i);

function aes256Gcm(key: Uint8Array): Aead {
  return {
    seal(nonce, plaintext, additional) {
      const cipher = createCipheriv("aes-256-gcm", key, nonce);
      cipher.setAAD(additional);
      const body = [cipher.update(plaintext), cipher.final(), cipher.getAuthTag()];
      return Uint8Array.from(body.flatMap((part) => [...part]));
    },
    open(nonce, sealed, additional) {
      const decipher = createDecipheriv("aes-256-gcm", key, nonce);
      decipher.setAAD(additional);
      decipher.setAuthTag(sealed.subarray(-16));
      try {
        return Uint8Array.from([...decipher.update(sealed.subarray(0, -16)), ...decipher.final()]);
      } catch {
        return null;
      }
    },
  };
}

function key(id: number): RetryKey {
  return { id, aead: aes256Gcm(randomBytes(32)) };
}

const entropy = (bytes: Uint8Array) => void crypto.getRandomValues(bytes);
const KEY = key(1);

function tokens(...keys: RetryKey[]): RetryTokens {
  return new RetryTokens(keys.length > 0 ? keys : [KEY], entropy);
}

/** Why the token is refused, or null. */
function problem(token: Uint8Array, context = CONTEXT, nowMs = NOW_MS, by = tokens()): string | null {
  const result = by.open(token, context, nowMs);
  return result.kind === "refused" ? result.why : null;
}

Deno.test("a token gives the original destination ID back, for every length that there is", () => {
  for (let length = 8; length <= 20; length++) {
    const original = randomBytes(length);
    const token = tokens().seal(CONTEXT, original, NOW_MS);
    assertEquals(token.length <= RETRY_TOKEN_BYTES_MAX, true);
    const result = tokens().open(token, CONTEXT, NOW_MS);
    assert(result.kind === "valid");
    assertEquals([...result.originalDestinationId], [...original]);
  }
});

Deno.test("what is in a token cannot be read from it, and no two are alike", () => {
  const [one, other] = [tokens().seal(CONTEXT, ORIGINAL, NOW_MS), tokens().seal(CONTEXT, ORIGINAL, NOW_MS)];
  assertNotEquals(one.subarray(13), other.subarray(13));
  assert(!one.join().includes(ORIGINAL.subarray(0, 6).join()));
});

Deno.test("a token holds only for its address, its Retry's connection ID and its version", () => {
  const token = tokens().seal(CONTEXT, ORIGINAL, NOW_MS);
  const others: RetryContext[] = [
    { ...CONTEXT, address: Uint8Array.of(192, 0, 2, 1, 0x11, 0x52) },
    { ...CONTEXT, address: Uint8Array.of(192, 0, 2, 2, 0x11, 0x51) },
    { ...CONTEXT, retrySourceId: new Uint8Array(16).fill(8) },
    { ...CONTEXT, version: 2 },
    // The same bytes, divided differently.
    { ...CONTEXT, address: Uint8Array.of(192, 0, 2, 1, 0x11, 0x51, 7), retrySourceId: new Uint8Array(15).fill(7) },
  ];
  for (const other of others) assertEquals(problem(token, other), "not-authentic");
});

Deno.test("a token is valid for 60 s, and 5 s before its time", () => {
  const token = tokens().seal(CONTEXT, ORIGINAL, NOW_MS);
  const at = (afterMs: number) => problem(token, CONTEXT, NOW_MS + afterMs);
  assertEquals([at(60_000), at(60_001), at(61_000), at(-5_000), at(-5_001)], [
    null,
    "expired",
    "expired",
    null,
    "from-the-future",
  ]);
});

Deno.test("a token with any one bit flipped, cut or made longer is refused", () => {
  const token = tokens().seal(CONTEXT, ORIGINAL, NOW_MS);
  for (let bit = 0; bit < token.length * 8; bit++) {
    const flipped = token.slice();
    flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    assertEquals(problem(flipped), bit < 8 ? "unknown-key" : "not-authentic");
  }
  for (let length = 0; length < token.length; length++) assertEquals(problem(token.subarray(0, length)) === null, false);
  assertNotEquals(problem(Uint8Array.of(...token, 0)), null);
});

Deno.test("arbitrary bytes are never a token", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
    assertNotEquals(problem(bytes), null);
    assertNotEquals(problem(Uint8Array.of(1, ...bytes)), null);
  }));
});

Deno.test("a token may come twice until its connection is accepted, then never again", () => {
  const server = tokens();
  const token = server.seal(CONTEXT, ORIGINAL, NOW_MS);
  const at = (afterMs: number) => problem(token, CONTEXT, NOW_MS + afterMs, server);
  assertEquals([at(0), at(1)], [null, null]);
  server.spend(token, NOW_MS + 1);
  assertEquals([at(2), at(59_000)], ["replayed", "replayed"]);
  // Other tokens come and go in between.
  for (let i = 0; i < 100; i++) server.spend(server.seal(CONTEXT, ORIGINAL, NOW_MS + 600 * i), NOW_MS + 600 * i);
  assertEquals([at(60_000), at(60_001)], ["replayed", "expired"]);
});

Deno.test("used tokens are remembered in bounded memory, the latest in any case", () => {
  const server = tokens();
  const filler = new Uint8Array(50);
  const view = new DataView(filler.buffer);
  const first = server.seal(CONTEXT, ORIGINAL, NOW_MS);
  server.spend(first, NOW_MS);
  for (let i = 0; i < 65_536; i++) {
    view.setUint32(44, i);
    server.spend(filler, NOW_MS);
  }
  assertEquals(problem(first, CONTEXT, NOW_MS, server), "replayed");
  for (let i = 0; i < 65_536; i++) {
    view.setUint32(44, 1_000_000 + i);
    server.spend(filler, NOW_MS);
  }
  assertEquals(problem(first, CONTEXT, NOW_MS, server), null);
});

Deno.test("keys rotate: the first seals, all open, and tokens of a removed key are refused", () => {
  const [old, young] = [key(1), key(2)];
  const server = tokens(old);
  const token = server.seal(CONTEXT, ORIGINAL, NOW_MS);
  server.setKeys([young, old]);
  assertEquals(problem(token, CONTEXT, NOW_MS, server), null);
  const newer = server.seal(CONTEXT, ORIGINAL, NOW_MS);
  assertEquals([token[0], newer[0]], [1, 2]);
  server.setKeys([young]);
  assertEquals([token, newer].map((one) => problem(one, CONTEXT, NOW_MS, server)), ["unknown-key", null]);
});

Deno.test("a restarted server without its keys refuses, with them accepts; a key of the same number does not help", () => {
  const token = tokens().seal(CONTEXT, ORIGINAL, NOW_MS);
  assertEquals([problem(token, CONTEXT, NOW_MS, tokens(KEY)), problem(token, CONTEXT, NOW_MS, tokens(key(1)))], [
    null,
    "not-authentic",
  ]);
});

Deno.test("keys must be there and have numbers of their own", () => {
  for (const keys of [[], [key(1), key(1)], [key(256)], [key(-1)]]) assertThrows(() => new RetryTokens(keys, entropy));
});
