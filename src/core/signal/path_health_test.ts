import { assert, assertEquals } from "@std/assert";
import { PathHealth } from "./path_health.ts";

/** Time goes on to `untilMs`; every keepalive that leaves is answered after 20 ms, as far as `answers` says so. Returns them. */
function run(health: PathHealth, fromMs: number, untilMs: number, answers: (sequence: number) => boolean): number[] {
  const sent: number[] = [];
  for (let nowMs = fromMs; nowMs <= untilMs; nowMs = Math.max(nowMs + 1, Math.min(health.nextMs, untilMs + 1))) {
    for (let sequence = health.poll(nowMs); sequence !== null; sequence = health.poll(nowMs)) {
      sent.push(sequence);
      if (answers(sequence)) health.handleResponse(sequence, nowMs + 20);
    }
  }
  return sent;
}
const always = () => true;
const never = () => false;

Deno.test("a path at rest is asked every 15 s, one in use every second, from sequence 1 on", () => {
  const health = new PathHealth(0);
  assertEquals(run(health, 0, 46_500, always), [1, 2, 3, 4]);
  health.setBusy(true, 46_500);
  const busy = run(health, 46_500, 56_400, always);
  assertEquals([busy[0], busy.length], [5, 10]);
  assertEquals(health.state, "good");
});

Deno.test("one lost keepalive makes a path doubtful, and the next answer makes it good again", () => {
  const health = new PathHealth(0);
  health.setBusy(true, 0);
  run(health, 0, 1_999, never);
  assertEquals(health.state, "good");
  run(health, 2_000, 2_999, never);
  assertEquals(health.state, "doubtful");
  run(health, 3_000, 3_500, always);
  assertEquals(health.state, "good");
});

Deno.test("after three lost ones in a row the path is lost, within ten seconds of its last use", () => {
  const health = new PathHealth(0);
  run(health, 0, 40_000, always);
  health.setBusy(true, 40_000);
  run(health, 40_000, 50_000, never);
  assertEquals(health.state, "lost");
});

Deno.test("a lost path stays away for 30 s, whatever comes, and then needs an answer", () => {
  const health = new PathHealth(0);
  health.setBusy(true, 0);
  run(health, 0, 10_000, never);
  run(health, 10_001, 30_000, always);
  assertEquals(health.state, "lost");
  assertEquals(run(health, 30_001, 60_000, never).length, 30);
  assertEquals(health.state, "lost");
  run(health, 60_001, 63_000, always);
  assertEquals(health.state, "good");
});

Deno.test("answers to what was never asked, and answers twice, change nothing", () => {
  const health = new PathHealth(0);
  health.setBusy(true, 0);
  run(health, 0, 3_000, never);
  for (const sequence of [0, 77, 0xffff_ffff]) health.handleResponse(sequence, 3_000);
  assertEquals(health.state, "doubtful");
  const [sequence = 0] = run(health, 3_001, 4_000, always);
  assertEquals(health.state, "good");
  run(health, 4_001, 7_000, never);
  health.handleResponse(sequence, 7_000);
  assertEquals(health.state, "doubtful");
});

Deno.test("nothing is asked more than once a second, and nothing is kept of what is never answered", () => {
  const health = new PathHealth(0);
  health.setBusy(true, 0);
  const sent = run(health, 0, 600_000, never);
  assert(sent.length >= 590 && sent.length <= 602, `${sent.length} keepalives in 600 s`);
});
