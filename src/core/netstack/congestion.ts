/**
 * How much may be on the way (RFC 5681, initial window RFC 6928, growth by slow_start and cubic), and what of it is taken for lost: by selective
 * acknowledgements (RFC 6675) where the peer offers them, else by duplicate ones (NewReno, RFC 6582), else by time-out.
 *
 *            duplicates or SACK say: lost                 everything up to the recovery point acknowledged
 *     open ─────────────────────────────► fast ─────────────────────────────────────────────────────────► open
 *       └───── time-out ─────► timeout ◄──┘ └──────────────────────────────────────────────────────────────┘
 *
 * In both recoveries the bytes before `lostEdge` that were neither selectively acknowledged nor sent again are the holes, and
 * `pipe` counts what is believed to be on the way; the sender fills holes first, as long as the pipe is below the window.
 */
import { Cubic } from "./cubic.ts";
import { DUPLICATE_THRESHOLD, INITIAL_WINDOW_SEGMENTS, SACKED_RANGES_MAX } from "./limits.ts";
import { distance, earlierOf, isAfter, isBefore, laterOf, SequenceRanges } from "./sequence.ts";
import { SlowStart } from "./slow_start.ts";

export class Congestion {
  mode: "open" | "fast" | "timeout" = "open";
  windowBytes = 0;
  thresholdBytes = 0x7fffffff;
  /** Recovery lasts until this is acknowledged: what had been sent when it began. */
  recoveryPoint = 0;
  /** What lies before it has been sent again in this recovery. */
  resentEdge = 0;
  /** What lies before it and was not selectively acknowledged is taken for lost. */
  lostEdge = 0;
  /** Numbers before it were sent in a window that was full: only their acknowledgements let it grow. */
  limitedEdge = 0;
  /** Without SACK: acknowledgements that said the same, each for a segment that left the network. */
  duplicates = 0;
  hasSack = false;
  /** The next hole is sent whatever the pipe says: the recovery begins, or goes on, with it. */
  isResendDue = false;
  /** What the peer has beyond the cumulative acknowledgement. */
  readonly sacked = new SequenceRanges(SACKED_RANGES_MAX);
  readonly #slowStart = new SlowStart();
  readonly #cubic = new Cubic();

  /** The window of the first round trip, or of the first after a pause (RFC 5681 §4.1). */
  restart(segmentBytes: number): void {
    const initial = INITIAL_WINDOW_SEGMENTS * segmentBytes;
    this.windowBytes = this.windowBytes === 0 ? initial : Math.min(this.windowBytes, initial);
  }

  /** Bytes that are believed to be on the way: RFC 6675 §4, SetPipe. */
  pipe(una: number, next: number, segmentBytes: number): number {
    let bytes = distance(una, next) - this.sacked.bytes;
    if (!this.hasSack) bytes -= this.duplicates * segmentBytes;
    if (this.mode !== "open") {
      const from = laterOf(this.resentEdge, una);
      if (isBefore(from, this.lostEdge)) {
        bytes -= distance(from, this.lostEdge) - this.sacked.bytesWithin(from, this.lostEdge);
      }
    }
    return Math.max(0, bytes);
  }

  /** The first byte that is lost and not sent again; equal to {@linkcode lostEdge} when there is none. */
  nextHole(una: number): number {
    let at = laterOf(this.resentEdge, una);
    for (let i = 0; i < this.sacked.count; i++) {
      if (isBefore(at, this.sacked.left(i))) break;
      if (isBefore(at, this.sacked.right(i))) at = this.sacked.right(i);
    }
    return isBefore(at, this.lostEdge) ? at : this.lostEdge;
  }

  /** Where the hole that begins at `hole` ends. */
  holeEnd(hole: number): number {
    for (let i = 0; i < this.sacked.count; i++) {
      if (isBefore(hole, this.sacked.left(i))) return earlierOf(this.sacked.left(i), this.lostEdge);
    }
    return this.lostEdge;
  }

  /** New data up to `end` was sent. */
  onSent(end: number, nowMs: number): void {
    if (this.mode === "open" && this.windowBytes < this.thresholdBytes) this.#slowStart.onSent(end, nowMs, this.windowBytes);
  }

  /** New data was acknowledged up to `una`; round trips take `roundTripMs`. */
  onAcked(ackedBytes: number, una: number, next: number, segmentBytes: number, roundTripMs: number, nowMs: number): void {
    this.sacked.dropBelow(una);
    if (this.mode === "fast") {
      if (!isBefore(una, this.recoveryPoint)) return this.#leaveFast(una, next, segmentBytes);
      this.#onPartialAck(ackedBytes, una, next, segmentBytes);
      return;
    }
    if (this.mode === "timeout" && !isBefore(una, this.recoveryPoint)) this.mode = "open";
    this.duplicates = 0;
    const isSlowStart = this.windowBytes < this.thresholdBytes;
    if (isSlowStart && this.mode === "open" && this.#slowStart.onAcked(una, next, nowMs)) {
      this.thresholdBytes = this.windowBytes;
      this.#cubic.forget();
    }
    // A window that was not used is not grown: it says nothing about the path.
    if (!isBefore((una - ackedBytes) | 0, this.limitedEdge)) return this.#cubic.pause(nowMs);
    if (isSlowStart) {
      // By what was acknowledged: ends that take packets in batches acknowledge seldom, and the path below us is paced (RFC 9406
      // §4.3, L = ∞). After a time-out by one segment for each acknowledgement (RFC 3465 §2.3).
      const growth = this.mode === "timeout" ? Math.min(ackedBytes, segmentBytes) : this.#slowStart.growthOf(ackedBytes);
      this.windowBytes += Math.floor(growth);
    } else this.windowBytes = Math.floor(this.#cubic.grown(this.windowBytes, ackedBytes, segmentBytes, roundTripMs, nowMs));
  }

  /** The peer acknowledged nothing new, or told of data beyond a hole. True when that begins a recovery. */
  onDuplicate(una: number, next: number, segmentBytes: number): boolean {
    if (this.mode === "timeout") return false;
    if (this.mode === "fast") {
      if (this.hasSack) this.#findLost(una, segmentBytes);
      else this.duplicates++;
      return false;
    }
    this.duplicates++;
    this.lostEdge = una;
    if (this.hasSack) this.#findLost(una, segmentBytes);
    if (this.duplicates < DUPLICATE_THRESHOLD && this.lostEdge === una) return false;
    this.#reduce(distance(una, next), segmentBytes);
    this.mode = "fast";
    this.windowBytes = this.thresholdBytes;
    this.recoveryPoint = next;
    this.resentEdge = una;
    this.lostEdge = laterOf(this.lostEdge, earlierOf((una + segmentBytes) | 0, next));
    this.isResendDue = true;
    return true;
  }

  /** A probe arrived that was sent long after everything before it: what the peer does not have of that is lost, sent again or not. */
  onProbeArrived(una: number, next: number, probeLeft: number, segmentBytes: number): void {
    if (this.mode === "open") {
      this.#reduce(distance(una, next), segmentBytes);
      this.mode = "fast";
      this.windowBytes = this.thresholdBytes;
      this.recoveryPoint = next;
      this.lostEdge = una;
    }
    this.resentEdge = una;
    this.lostEdge = laterOf(this.lostEdge, probeLeft);
    this.isResendDue = true;
  }

  /** A probe filled the only hole that there was: congestion all the same. */
  onProbeRepaired(segmentBytes: number): void {
    if (this.mode !== "open") return;
    this.#reduce(this.windowBytes, segmentBytes);
    this.windowBytes = this.thresholdBytes;
  }

  /** RFC 5681 §3.1 eqn. 4, RFC 6675 §5.1: everything that was not selectively acknowledged is lost; begin with one segment. */
  onTimeout(una: number, next: number, segmentBytes: number, isRepeated: boolean): void {
    if (!isRepeated) this.#reduce(distance(una, next), segmentBytes);
    // A peer may take back what it acknowledged selectively (RFC 2018 §8). Twice in vain: believe none of it.
    else this.sacked.clear();
    this.resendAll(una, next);
    this.#cubic.forget();
    this.windowBytes = segmentBytes;
  }

  /** What is on the way cannot arrive (it was too big for the path): send it again, without blaming congestion. */
  resendAll(una: number, next: number): void {
    this.mode = "timeout";
    this.duplicates = 0;
    this.recoveryPoint = this.limitedEdge = this.lostEdge = next;
    this.resentEdge = una;
  }

  #reduce(flightBytes: number, segmentBytes: number): void {
    this.thresholdBytes = Math.max(Math.floor(this.#cubic.reduce(flightBytes)), 2 * segmentBytes);
    this.#slowStart.clear();
  }

  /** RFC 6582 §3.2 step 3, RFC 6675 §5 C: the recovery goes on with the next hole. */
  #onPartialAck(ackedBytes: number, una: number, next: number, segmentBytes: number): void {
    if (this.hasSack) {
      this.#findLost(una, segmentBytes);
      // A hole right at the acknowledgement was sent before the recovery began, so it is lost as well.
      if (isAfter(this.resentEdge, una)) return;
    } else {
      this.duplicates = Math.max(0, this.duplicates - Math.ceil(ackedBytes / segmentBytes) + 1);
    }
    this.lostEdge = laterOf(this.lostEdge, earlierOf((una + segmentBytes) | 0, next));
    this.isResendDue = true;
  }

  #leaveFast(una: number, next: number, segmentBytes: number): void {
    this.mode = "open";
    this.duplicates = 0;
    this.isResendDue = false;
    // RFC 6582 §3.2 step 3, first option: no burst out of recovery.
    this.windowBytes = Math.min(this.thresholdBytes, Math.max(distance(una, next), segmentBytes) + segmentBytes);
  }

  /** RFC 6675 §4, IsLost: a byte is, when enough beyond it arrived. */
  #findLost(una: number, segmentBytes: number): void {
    let bytes = 0;
    for (let i = this.sacked.count - 1, ranges = 1; i >= 0; i--, ranges++) {
      bytes += distance(this.sacked.left(i), this.sacked.right(i));
      if (ranges < DUPLICATE_THRESHOLD && bytes <= (DUPLICATE_THRESHOLD - 1) * segmentBytes) continue;
      this.lostEdge = laterOf(laterOf(this.lostEdge, una), this.sacked.left(i));
      return;
    }
  }
}
