/**
 * What programs at both ends of the tunnel do, by plan: the local client of an agent and the backend behind a connector send
 * numbered bytes in pieces, read at their own pace, end or break their connection, and watch what comes from the other.
 */
import type { SimEvents } from "./sim_events_fixture.ts";
import { EAGAIN, EPIPE } from "./sim_file_fixture.ts";
import { hashText, SimRandom } from "./sim_random_fixture.ts";
import type { SimTcpEnd } from "./sim_tcp_fixture.ts";

const ECONNRESET = 104;

/** When a program breaks its connection with RST. */
export type ResetPlan =
  | { readonly when: "sent" | "received"; readonly bytes: number }
  | { readonly when: "after"; readonly ms: number };

/** One end of a connection. */
export interface ScriptPlan {
  readonly sendBytes: number;
  /** It writes at most so much at once, and then waits up to `writePauseMs`. */
  readonly writeBytesMax: number;
  readonly writePauseMs: number;
  readonly starts: "at-once" | "after-first-byte" | "after-end";
  readonly readBytesMax: number;
  readonly readPauseMs: number;
  readonly reset: ResetPlan | null;
}

export const PLAIN_SCRIPT: ScriptPlan = {
  sendBytes: 0,
  writeBytesMax: 65_536,
  writePauseMs: 0,
  starts: "at-once",
  readBytesMax: 65_536,
  readPauseMs: 0,
  reset: null,
};

const PATTERN_BYTES = 65_521;
const PATTERN = (() => {
  const bytes = new Uint8Array(2 * PATTERN_BYTES);
  new SimRandom(4711).fill(bytes.subarray(0, PATTERN_BYTES));
  bytes.copyWithin(PATTERN_BYTES, 0, PATTERN_BYTES);
  return bytes;
})();

export class Script {
  readonly label: string;
  readonly plan: ScriptPlan;
  sent = 0;
  received = 0;
  hasSentFin = false;
  hasFin = false;
  /** It broke the connection by itself. */
  hasReset = false;
  /** The errno by which it learnt that the connection is broken; 0 while it is not. */
  broken = 0;
  /** The first thing that was wrong. */
  fault: string | null = null;
  overAtMs = Infinity;
  startedAtMs = Infinity;
  /** The process that it talks to was killed: the kernel ends its connections as it likes. */
  isOrphan = false;
  other: Script | null = null;
  end: SimTcpEnd | null = null;
  readonly #events: SimEvents;
  readonly #random: SimRandom;
  readonly #salt: number;
  readonly #peerSalt: number;
  readonly #lead: (script: Script) => number;
  #isReading = false;
  #isWriting = false;

  /** `lead` is how far the sender may be ahead of the reader. */
  constructor(label: string, peerLabel: string, plan: ScriptPlan, events: SimEvents, random: SimRandom, lead: () => number) {
    this.label = label;
    this.plan = plan;
    this.#events = events;
    this.#random = random;
    this.#salt = saltOf(label);
    this.#peerSalt = saltOf(peerLabel);
    this.#lead = lead;
  }

  get isOver(): boolean {
    return this.overAtMs !== Infinity;
  }

  /** It has sent and received everything, both ends included. */
  get isComplete(): boolean {
    return this.hasSentFin && this.hasFin;
  }

  /** Takes over a connection, which may still be connecting. */
  begin(end: SimTcpEnd): void {
    this.end = end;
    this.startedAtMs = this.#events.nowMs;
    end.onChange = () => this.#events.after(0, () => this.#go());
    const { reset } = this.plan;
    if (reset?.when === "after") this.#events.after(reset.ms, () => this.#break());
    this.#go();
  }

  #go(): void {
    if (this.isOver || this.end === null) return;
    const { end } = this;
    if (!end.isOpen && end.error === 0 && end.readableBytes === 0 && !end.isDead) return;
    if (!this.#isReading) this.#read();
    if (!this.isOver && !this.#isWriting) this.#write();
    if (!this.isOver && this.isComplete) {
      end.close();
      this.#over();
    }
  }

  #read(): void {
    const { readBytesMax, readPauseMs, reset } = this.plan;
    while (!this.isOver && !this.hasFin) {
      const got = this.end?.read(readBytesMax) ?? null;
      if (got === null) return this.#onFin();
      if (typeof got === "number") {
        if (got !== -EAGAIN) this.#onBroken(-got);
        return;
      }
      this.#check(got);
      if (reset?.when === "received" && this.received >= reset.bytes) return this.#break();
      if (readPauseMs === 0) continue;
      this.#isReading = true;
      this.#events.after(this.#random.next() * readPauseMs, () => {
        this.#isReading = false;
        this.#go();
      });
      return;
    }
  }

  #write(): void {
    const { sendBytes, writeBytesMax, writePauseMs, starts, reset } = this.plan;
    if (this.end === null) return;
    if (this.end.isDead && (this.hasFin || this.end.readableBytes === 0)) return this.#onBroken(this.end.takeError() || EPIPE);
    if (this.hasSentFin || !this.end.isOpen) return;
    if (starts === "after-first-byte" && this.received === 0 && !this.hasFin) return;
    if (starts === "after-end" && !this.hasFin) return;
    while (this.sent < sendBytes) {
      const length = Math.min(sendBytes - this.sent, this.#random.between(1, writeBytesMax));
      const at = (this.sent + this.#salt) % PATTERN_BYTES;
      const taken = this.end.write(PATTERN.subarray(at, at + Math.min(length, PATTERN_BYTES)));
      if (taken < 0) {
        if (taken !== -EAGAIN) this.#onBroken(-taken);
        return;
      }
      this.sent += taken;
      const ahead = this.sent - (this.other?.received ?? 0);
      if (ahead > this.#lead(this)) this.fault ??= `is ${ahead} bytes ahead of its reader`;
      if (reset?.when === "sent" && this.sent >= reset.bytes) return this.#break();
      if (writePauseMs === 0) continue;
      this.#isWriting = true;
      this.#events.after(this.#random.next() * writePauseMs, () => {
        this.#isWriting = false;
        this.#go();
      });
      return;
    }
    if (reset !== null && reset.when !== "after") return this.#break();
    this.hasSentFin = true;
    this.end.finish();
  }

  #check(bytes: Uint8Array): void {
    if (this.hasFin) this.fault ??= "got bytes behind the end";
    for (let at = 0; at < bytes.length;) {
      const from = (this.received + this.#peerSalt) % PATTERN_BYTES;
      const length = Math.min(bytes.length - at, PATTERN_BYTES);
      for (let i = 0; i < length; i++) {
        if (bytes[at + i] !== PATTERN[from + i]) {
          this.fault ??= `byte ${this.received + i} is wrong`;
          break;
        }
      }
      this.received += length;
      at += length;
    }
    if (this.received > (this.other?.sent ?? 0)) this.fault ??= `got ${this.received} bytes of ${this.other?.sent ?? 0}`;
  }

  #onFin(): void {
    this.hasFin = true;
    const { other } = this;
    if (this.isOrphan) return;
    if (other === null || !other.hasSentFin) this.fault ??= "got an end that nobody sent";
    else if (this.received !== other.sent) this.fault ??= `got the end behind ${this.received} of ${other.sent} bytes`;
  }

  #onBroken(errno: number): void {
    if (errno !== ECONNRESET && errno !== EPIPE && this.label.startsWith("backend")) this.fault ??= `errno ${errno}`;
    this.broken = errno;
    this.end?.close();
    this.#over();
  }

  #break(): void {
    if (this.isOver || this.end === null) return;
    this.hasReset = true;
    this.end.reset();
    this.#over();
  }

  #over(): void {
    this.overAtMs = this.#events.nowMs;
  }
}

function saltOf(label: string): number {
  return (hashText(label) >>> 0) % PATTERN_BYTES;
}
