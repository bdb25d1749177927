import { assert, assertEquals, assertMatch, assertNotEquals } from "@std/assert";
import { native } from "../../../tests/e2e/ops_fixture.ts";
import type { PeerCredentials } from "../../io/http/mod.ts";
import { mayCall, processStartTime, TokenStore } from "./mod.ts";

const caller = (pid: number, uid = 1000): PeerCredentials => ({ pid, uid, gid: uid, groups: [uid] });

/** A store in a world where every pid below 1000 lives; `started` can be changed to make a pid another process. */
function makeStore() {
  const world = { nowMs: 0, started: new Map<number, string>(), notes: [] as string[] };
  const store = new TokenStore({
    startTime: (pid) => pid < 1000 ? world.started.get(pid) ?? "1" : null,
    clock: () => world.nowMs,
    entropy: (bytes) => crypto.getRandomValues(bytes),
    note: (_level, message) => world.notes.push(message),
  });
  const issue = (from: PeerCredentials, bind: "caller" | "first-use") => {
    const token = store.issue(from, bind);
    assert(token !== null);
    return token;
  };
  return { store, world, issue };
}

const why = (verdict: ReturnType<TokenStore["check"]>) => verdict.ok ? "ok" : verdict.why;

Deno.test("a token is 43 characters of base64url, and no two are the same", () => {
  const { issue } = makeStore();
  const [a, b] = [issue(caller(1), "caller"), issue(caller(1), "caller")];
  assertMatch(a, /^[A-Za-z0-9_-]{43}$/);
  assertNotEquals(a, b);
});

Deno.test("a token bound to its caller works for that process and no other", () => {
  const { store, issue, world } = makeStore();
  const token = issue(caller(10), "caller");
  assertEquals(why(store.check(token, caller(10))), "ok");
  assertEquals(why(store.check(token, caller(11))), "token PID mismatch");
  assertEquals(why(store.check(token, caller(10, 1001))), "token UID mismatch");
  assertEquals(why(store.check(undefined, caller(10))), "missing Authorization header");
  assertEquals(why(store.check("", caller(10))), "missing Authorization header");
  assertEquals(why(store.check(token + "x", caller(10))), "invalid token");
  assertEquals(why(store.check(`Bearer ${token}`, caller(10))), "invalid token");
  assertEquals(world.notes, [
    "SECURITY: Token PID mismatch: expected 10, got 11",
    "SECURITY: Token UID mismatch: expected 1000, got 1001",
  ]);
  assert(!world.notes.join().includes(token));
});

Deno.test("a token for first use is bound by whoever of that user comes first", () => {
  const { store, issue, world } = makeStore();
  const token = issue(caller(10), "first-use");
  assertEquals(why(store.check(token, caller(20, 1001))), "token UID mismatch");
  assertEquals(why(store.check(token, caller(20))), "ok");
  assertEquals(why(store.check(token, caller(10))), "token PID mismatch");
  assertEquals(why(store.check(token, caller(20))), "ok");
  assert(world.notes.includes("Token bound to PID 20"));
});

Deno.test("a pid that was used again is another process", () => {
  const { store, issue, world } = makeStore();
  const token = issue(caller(10), "caller");
  world.started.set(10, "2");
  assertEquals(why(store.check(token, caller(10))), "token PID mismatch");
});

Deno.test("a process that has ended gets no token and can use none", () => {
  const { store, issue } = makeStore();
  assertEquals(store.issue(caller(2000), "caller"), null);
  assertEquals(why(store.check(issue(caller(1), "first-use"), caller(2000))), "token PID mismatch");
});

Deno.test("a token is void after a minute without use, and lives on while it is used", () => {
  const { store, issue, world } = makeStore();
  const [used, unused] = [issue(caller(1), "caller"), issue(caller(1), "caller")];
  for (let i = 0; i < 3; i++) {
    world.nowMs += 40_000;
    assertEquals(why(store.check(used, caller(1))), "ok");
  }
  assertEquals(why(store.check(unused, caller(1))), "invalid token");
  world.nowMs += 60_001;
  assertEquals(why(store.check(used, caller(1))), "invalid token");
});

Deno.test("the number of tokens is bounded; the one that was used longest ago goes", () => {
  const { store, issue, world } = makeStore();
  const first = issue(caller(1), "caller");
  for (let i = 0; i < 300; i++) {
    world.nowMs += 1;
    issue(caller(1), "caller");
  }
  assertEquals(store.size, 256);
  assertEquals(why(store.check(first, caller(1))), "invalid token");
});

Deno.test("root, the owner, named users and members of named groups may call; nobody else", () => {
  const access = { ownUid: 500, uids: [600], gids: [700] };
  const who = (uid: number, gid: number, groups: readonly number[] = []) => mayCall(access, { pid: 1, uid, gid, groups });
  assertEquals([who(0, 0), who(500, 1), who(600, 1), who(1, 700), who(1, 1, [2, 700])], [true, true, true, true, true]);
  assertEquals([who(501, 500), who(700, 600), who(1, 1, [2, 3])], [false, false, false]);
});

Deno.test("the start time of a process is a number that does not change, and none for a pid without process", () => {
  const own = processStartTime(native, Deno.pid);
  assertMatch(own ?? "", /^\d+$/);
  assertEquals(processStartTime(native, Deno.pid), own);
  assertEquals(processStartTime(native, 4_194_304), null);
});
