import { assertEquals } from "@std/assert";
import { fromHex, LOG_EVENTS, type LogEvent, type LogLevel, type Timer, TimerHeap, toHex } from "../../base/mod.ts";
import { ALPN_V2 } from "../../core/wire/mod.ts";
import { Registrar, type RegistrationLink, type RegistrationPlane } from "./registration.ts";

const FRAME_AT = 1_000, REPLY_AT = 2_000;

/** A registrar under a clock that the test turns; `random` at its largest, so that pauses are whole steps. */
class Rig implements RegistrationPlane, RegistrationLink {
  readonly bytes = new Uint8Array(3_000);
  readonly sent: string[] = [];
  readonly said: string[] = [];
  readonly answers: boolean[] = [];
  readonly timers = new TimerHeap();
  nowMs = 0;
  readonly platform = {
    engine: { arena: { bytes: this.bytes } },
    reactor: {
      setTimer: (timer: Timer, atMs: number) => void this.timers.set(timer, atMs),
      cancelTimer: (timer: Timer) => void this.timers.cancel(timer),
    },
    random: () => 1,
  };
  readonly engine = {
    applicationProtocol: () => ALPN_V2,
    datagramSend: (offset: number, length: number) => {
      this.sent.push(toHex(this.bytes.subarray(offset, offset + length)));
      return length;
    },
  };
  readonly registrar: Registrar;

  constructor(role: "agent" | "connector" = "connector") {
    this.registrar = new Registrar({
      plane: this,
      role,
      frameAt: FRAME_AT,
      onAnswered: (isAcknowledged) => void this.answers.push(isAcknowledged),
    });
  }

  touch(): void {}

  log(level: LogLevel, event: LogEvent, message: string): void {
    if (level === "warn" && event in LOG_EVENTS) this.said.push(message);
  }

  begin(...services: readonly string[]): void {
    this.registrar.setServices(services, this.nowMs);
    this.registrar.begin(this, this.nowMs);
  }

  hear(frame: string): void {
    const bytes = fromHex(frame) ?? new Uint8Array();
    this.bytes.set(bytes, REPLY_AT);
    this.registrar.onReply(REPLY_AT, bytes.length, this.nowMs);
  }

  /** Lets time pass; returns when something was sent. */
  pass(ms: number): number[] {
    const untilMs = this.nowMs + ms, sentAt: number[] = [];
    while (this.timers.nextMs <= untilMs) {
      const before = this.sent.length;
      this.nowMs = this.timers.nextMs;
      this.timers.run(this.nowMs);
      if (this.sent.length > before) sentAt.push(this.nowMs);
    }
    this.nowMs = untilMs;
    return sentAt;
  }
}

Deno.test("an unanswered registration is sent three times, 2 s apart; then after pauses of at most 30 s, for ever", () => {
  const rig = new Rig();
  rig.begin("web");
  assertEquals(rig.pass(5_999), [2_000, 4_000]);
  assertEquals(rig.said, []);
  rig.pass(1);
  assertEquals(rig.said, ["Registration for 'web' failed after 3 attempts, giving up"]);
  assertEquals(rig.registrar.stateOf("web"), "denied");
  const gaps = rig.pass(400_000).map((atMs, i, all) => atMs - (all[i - 1] ?? 4_000)).filter((gap) => gap > 2_000);
  assertEquals(gaps.slice(0, 6), [4_000, 6_000, 10_000, 18_000, 32_000, 32_000]);
  assertEquals(new Set(rig.sent), new Set(["1103776562"]));
});

Deno.test("the second answer counts as well as the first: what was lost on the way is asked again", () => {
  const rig = new Rig();
  rig.begin("web");
  rig.pass(2_000);
  rig.hear("120003776562");
  assertEquals([rig.registrar.stateOf("web"), rig.sent.length, rig.pass(1_000_000)], ["registered", 2, []]);
  assertEquals(rig.answers, [true]);
});

for (
  const [frame, pauses, advice] of [
    ["130203776562", [5_000, 10_000, 20_000, 40_000], " (status=0x02)"],
    [
      "130103776562",
      [5_000, 10_000, 20_000, 40_000],
      " (status=0x01): the server takes no such id; --allow-legacy-service-ids there would",
    ],
    ["130303776562", [2_000, 4_000, 8_000, 16_000], " (status=0x03)"],
    ["130403776562", [2_000, 4_000, 8_000, 16_000], " (status=0x04)"],
  ] as const
) {
  Deno.test(`NACK ${frame.slice(2, 4)}: said with its status, asked again after ever longer pauses`, () => {
    const rig = new Rig();
    rig.begin("web");
    for (const pause of pauses) {
      rig.hear(frame);
      assertEquals(rig.registrar.stateOf("web"), "denied");
      assertEquals(rig.pass(pause), [rig.nowMs]);
    }
    assertEquals(new Set(rig.said), new Set([`Registration NACK for service 'web'${advice}`]));
    assertEquals(rig.answers, pauses.map(() => false));
  });
}

Deno.test("pauses begin anew after an ACK", () => {
  const rig = new Rig();
  rig.begin("web");
  for (let round = 0; round < 3; round++) {
    rig.hear("130203776562");
    rig.pass(60_000);
  }
  rig.hear("120003776562");
  rig.registrar.end();
  rig.begin("web");
  rig.hear("130203776562");
  assertEquals(rig.pass(5_000), [rig.nowMs]);
});

Deno.test("an answer to nothing that was asked, a damaged one and one before any question change nothing", () => {
  const rig = new Rig();
  rig.registrar.setServices(["web"], 0);
  rig.hear("120003776562");
  assertEquals(rig.registrar.stateOf("web"), "idle");
  rig.begin("web");
  for (
    const frame of ["1200026462", "1302026462", "12", "1200", "12000377", "1203776562", "1302ff776562", "1300", "120003ff6562"]
  ) {
    rig.hear(frame);
    assertEquals(rig.registrar.stateOf("web"), "pending", frame);
  }
  assertEquals([rig.answers, rig.said], [[], []]);
  rig.hear("120003776562");
  assertEquals(rig.registrar.stateOf("web"), "registered");
});

Deno.test("NACK 01 that cannot repeat the id is for the only service that it can mean", () => {
  const alone = new Rig();
  alone.begin("WebApp");
  alone.hear("130100");
  assertEquals(alone.registrar.stateOf("WebApp"), "denied");

  const one = new Rig();
  one.begin("web", "WebApp");
  one.hear("130100");
  assertEquals([one.registrar.stateOf("web"), one.registrar.stateOf("WebApp")], ["pending", "denied"]);

  const two = new Rig();
  two.begin("db", "web");
  two.hear("130100");
  assertEquals([two.registrar.stateOf("db"), two.registrar.stateOf("web")], ["pending", "pending"]);
});

Deno.test("an agent registers as one, and is told apart what was never given and what was taken back", () => {
  const rig = new Rig("agent");
  rig.begin("web", "db");
  assertEquals(rig.sent, ["1003776562", "10026462"]);
  assertEquals(rig.registrar.reportOf("web"), { state: "pending", why: "" });
  rig.hear("120003776562");
  rig.hear("1302026462");
  assertEquals(rig.registrar.reportOf("web"), { state: "registered", why: "" });
  assertEquals(rig.registrar.reportOf("db"), { state: "denied", why: "not-authorised" });
  rig.hear("130203776562");
  assertEquals(rig.registrar.reportOf("web"), { state: "withdrawn", why: "not-authorised" });
  // Both are asked for again, and what is given again is as good as new.
  rig.pass(6_000);
  rig.hear("120003776562");
  assertEquals(rig.registrar.reportOf("web"), { state: "registered", why: "" });
  assertEquals(rig.registrar.reportOf("other"), null);
});

Deno.test("one more service is registered beside the others, once", () => {
  const rig = new Rig("agent");
  rig.begin("web");
  rig.registrar.add("db", rig.nowMs);
  rig.registrar.add("db", rig.nowMs);
  rig.registrar.add("web", rig.nowMs);
  assertEquals(rig.sent, ["1003776562", "10026462"]);
});

Deno.test("a withdrawal that nobody answers is sent again, for ever; a service that is wanted again is registered after it", () => {
  const rig = new Rig();
  rig.begin("web");
  rig.hear("120003776562");
  rig.sent.length = 0;
  rig.registrar.setServices([], rig.nowMs);
  assertEquals([rig.sent, rig.registrar.stateOf("web")], [["1403776562"], "withdrawing"]);
  rig.pass(6_000);
  assertEquals([rig.sent.length, rig.said], [3, ["The server does not take 'web' back"]]);
  rig.pass(120_000);
  assertEquals(new Set(rig.sent), new Set(["1403776562"]));
  assertEquals(rig.sent.length > 6, true);
  rig.hear("130503776562");
  assertEquals([rig.registrar.stateOf("web"), rig.pass(60_000)], [null, []]);

  const again = new Rig();
  again.begin("web");
  again.hear("120003776562");
  again.registrar.setServices([], again.nowMs);
  again.registrar.setServices(["web"], again.nowMs);
  again.sent.length = 0;
  again.pass(6_000);
  assertEquals(again.sent.at(-1), "1103776562");
  again.hear("120003776562");
  assertEquals([again.registrar.stateOf("web"), again.pass(60_000)], ["registered", []]);
});

Deno.test("what is forgotten is asked for no more, until it is wanted again", () => {
  const rig = new Rig("agent");
  rig.begin("web", "db");
  rig.hear("120003776562");
  rig.registrar.remove("db");
  assertEquals([rig.registrar.reportOf("db"), rig.pass(60_000)], [null, []]);
  rig.registrar.add("db", rig.nowMs);
  assertEquals(rig.sent.slice(2), ["10026462"]);
});
