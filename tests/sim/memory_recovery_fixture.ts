/**
 * Loss recovery of the memory engine, after RFC 9002 in short: packets are acknowledged by ranges, lost when three later ones
 * arrived or when nothing was heard for a while; the congestion window grows by what is acknowledged and halves on loss.
 */
import type { Frame } from "./memory_packet_fixture.ts";

export interface SentPacket {
  readonly number: number;
  readonly sentMs: number;
  readonly bytes: number;
  readonly frames: readonly Frame[];
  readonly isAckEliciting: boolean;
}

const PACKET_THRESHOLD = 3;
const FIRST_RTT_MS = 100;
const ACK_DELAY_MS = 25;
const GRANULARITY_MS = 1;
const WINDOW_FIRST_PACKETS = 20;
const WINDOW_MIN_PACKETS = 4;
const BACKOFF_MAX = 5;
/** Ranges of received numbers that are remembered; what is older counts as received. */
export const ACK_RANGES_MAX = 32;

export class Recovery {
  packetsLost = 0;
  packetsSent = 0;
  bytesSent = 0;
  rttMs = FIRST_RTT_MS;
  /** Packets that may be sent past the congestion window, after a probe timeout. */
  probes = 0;
  readonly #inFlight = new Map<number, SentPacket>();
  readonly #onAcked: (frame: Frame) => void;
  readonly #onLost: (frame: Frame) => void;
  #nextNumber = 0;
  #bytesInFlight = 0;
  #windowBytes: number;
  #thresholdBytes = Infinity;
  #packetBytes: number;
  #variationMs = FIRST_RTT_MS / 2;
  #hasRtt = false;
  #largestAcked = -1;
  #recoveryFrom = -1;
  #timeouts = 0;
  #lastElicitingMs = 0;

  constructor(packetBytes: number, onAcked: (frame: Frame) => void, onLost: (frame: Frame) => void) {
    this.#packetBytes = packetBytes;
    this.#windowBytes = WINDOW_FIRST_PACKETS * packetBytes;
    this.#onAcked = onAcked;
    this.#onLost = onLost;
  }

  get windowBytes(): number {
    return Math.floor(this.#windowBytes);
  }

  /** Bytes that may still be sent. */
  get room(): number {
    return Math.max(0, Math.floor(this.#windowBytes) - this.#bytesInFlight);
  }

  get nextNumber(): number {
    return this.#nextNumber;
  }

  get timeoutMs(): number {
    return this.rttMs + Math.max(4 * this.#variationMs, GRANULARITY_MS) + ACK_DELAY_MS;
  }

  /** When silence means loss, Infinity when nothing is awaited. */
  get deadlineMs(): number {
    for (const { isAckEliciting } of this.#inFlight.values()) {
      if (isAckEliciting) return this.#lastElicitingMs + this.timeoutMs * 2 ** Math.min(this.#timeouts, BACKOFF_MAX);
    }
    return Infinity;
  }

  onSent(frames: readonly Frame[], bytes: number, nowMs: number): void {
    const isAckEliciting = frames.some((frame) => frame.kind !== "ack" && frame.kind !== "close");
    const packet = { number: this.#nextNumber++, sentMs: nowMs, bytes, frames, isAckEliciting };
    this.packetsSent++;
    this.bytesSent += bytes;
    if (!isAckEliciting) return;
    this.#inFlight.set(packet.number, packet);
    this.#bytesInFlight += bytes;
    this.#lastElicitingMs = nowMs;
    if (this.probes > 0) this.probes--;
  }

  /** Takes an ACK; false when it acknowledges what was never sent. */
  onAck(ranges: readonly (readonly [number, number])[], nowMs: number): boolean {
    const largest = ranges[0]?.[1] ?? -1;
    if (largest >= this.#nextNumber) return false;
    const acked: SentPacket[] = [];
    for (const packet of this.#inFlight.values()) {
      if (ranges.some(([first, last]) => first <= packet.number && packet.number <= last)) acked.push(packet);
    }
    if (acked.length === 0) return true;
    this.#timeouts = 0;
    this.probes = 0;
    for (const packet of acked) this.#forget(packet);
    const newest = acked[acked.length - 1] as SentPacket;
    if (newest.number === largest) this.#measure(nowMs - newest.sentMs);
    this.#largestAcked = Math.max(this.#largestAcked, largest);
    for (const packet of acked) {
      if (packet.number > this.#recoveryFrom) this.#grow(packet.bytes);
      for (const frame of packet.frames) this.#onAcked(frame);
    }
    this.#detectLoss(newest, nowMs);
    return true;
  }

  /** The deadline has come: the oldest packets count as lost, and two more may be sent whatever the window says. */
  onTimeout(): void {
    this.#timeouts++;
    this.probes = 2;
    let count = 0;
    for (const packet of [...this.#inFlight.values()]) {
      if (count++ === 2) break;
      this.#lose(packet);
    }
  }

  /** Everything that is on its way starts anew: another key, another path. */
  restart(): void {
    for (const packet of [...this.#inFlight.values()]) this.#lose(packet);
  }

  /** Larger packets pass. */
  setPacketBytes(bytes: number): void {
    this.#packetBytes = bytes;
    this.#windowBytes = Math.max(this.#windowBytes, WINDOW_FIRST_PACKETS * bytes);
  }

  #detectLoss(newest: SentPacket, nowMs: number): void {
    const lateMs = (9 / 8) * Math.max(this.rttMs, GRANULARITY_MS);
    for (const packet of [...this.#inFlight.values()]) {
      if (packet.number >= this.#largestAcked) break;
      const isLate = packet.sentMs < newest.sentMs && nowMs - packet.sentMs > lateMs;
      if (packet.number > this.#largestAcked - PACKET_THRESHOLD && !isLate) continue;
      this.#lose(packet);
      const isProbe = packet.frames.some((frame) => frame.kind === "probe");
      if (isProbe || packet.number <= this.#recoveryFrom) continue;
      this.#recoveryFrom = this.#nextNumber - 1;
      this.#windowBytes = Math.max(WINDOW_MIN_PACKETS * this.#packetBytes, this.#windowBytes / 2);
      this.#thresholdBytes = this.#windowBytes;
    }
  }

  #lose(packet: SentPacket): void {
    this.#forget(packet);
    this.packetsLost++;
    for (const frame of packet.frames) this.#onLost(frame);
  }

  #forget(packet: SentPacket): void {
    this.#inFlight.delete(packet.number);
    this.#bytesInFlight -= packet.bytes;
  }

  #grow(bytes: number): void {
    if (this.#windowBytes < this.#thresholdBytes) this.#windowBytes += bytes;
    else this.#windowBytes += this.#packetBytes * (bytes / this.#windowBytes);
  }

  #measure(sampleMs: number): void {
    if (!this.#hasRtt) {
      this.#hasRtt = true;
      this.rttMs = sampleMs;
      this.#variationMs = sampleMs / 2;
      return;
    }
    this.#variationMs = 0.75 * this.#variationMs + 0.25 * Math.abs(this.rttMs - sampleMs);
    this.rttMs = 0.875 * this.rttMs + 0.125 * sampleMs;
  }
}

/** The packet numbers that arrived: what to acknowledge, and what came twice. */
export class ReceivedNumbers {
  /** `[first, last]`, newest first. */
  readonly #ranges: [number, number][] = [];

  get largest(): number {
    return this.#ranges[0]?.[1] ?? -1;
  }

  get ranges(): readonly (readonly [number, number])[] {
    return this.#ranges.map(([first, last]) => [first, last] as const);
  }

  /** Whether `number` arrived before, or is too old to know. */
  has(number: number): boolean {
    const oldest = this.#ranges[this.#ranges.length - 1];
    if (this.#ranges.length === ACK_RANGES_MAX && oldest !== undefined && number < oldest[0]) return true;
    return this.#ranges.some(([first, last]) => first <= number && number <= last);
  }

  add(number: number): void {
    const ranges = this.#ranges;
    let at = 0;
    while (at < ranges.length && (ranges[at] as [number, number])[0] > number + 1) at++;
    const above = ranges[at];
    if (above !== undefined && above[0] === number + 1) {
      above[0] = number;
      const below = ranges[at + 1];
      if (below !== undefined && below[1] === number - 1) {
        above[0] = below[0];
        ranges.splice(at + 1, 1);
      }
      return;
    }
    if (above !== undefined && above[1] === number - 1) above[1] = number;
    else ranges.splice(at, 0, [number, number]);
    if (ranges.length > ACK_RANGES_MAX) ranges.pop();
  }
}
