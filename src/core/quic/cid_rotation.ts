/**
 * When one connection gets a new connection ID of ours, and which of our IDs it has. Offering an ID above the peer's limit
 * asks the peer to retire the oldest (RFC 9000 §5.1.2), which makes it use another: that is the rotation. An ID is dropped
 * when the peer has retired it, never before, since packets may still carry it.
 *
 *   idle ──start──► waiting ──due──► issuing ──issued──► waiting       issued when the last place was taken ──► full
 *                      ▲                └──refused──► waiting          full ──retired──► waiting
 *   any ──stop──► stopped
 */

import { assert } from "../../base/mod.ts";

export type RotationState = "idle" | "waiting" | "issuing" | "full" | "stopped";
export type RotationEvent = "start" | "due" | "issued" | "filled" | "refused" | "retired" | "stop";

/** The next state, or null where the event cannot happen. */
export const ROTATION_TABLE: Readonly<Record<RotationState, Readonly<Record<RotationEvent, RotationState | null>>>> = {
  idle: { start: "waiting", due: null, issued: null, filled: null, refused: null, retired: "idle", stop: "stopped" },
  waiting: { start: null, due: "issuing", issued: null, filled: null, refused: null, retired: "waiting", stop: "stopped" },
  issuing: { start: null, due: null, issued: "waiting", filled: "full", refused: "waiting", retired: "issuing", stop: "stopped" },
  full: { start: null, due: null, issued: null, filled: null, refused: null, retired: "waiting", stop: "stopped" },
  stopped: { start: null, due: null, issued: null, filled: null, refused: null, retired: "stopped", stop: "stopped" },
};

export interface RotationOptions {
  readonly intervalMs: number;
  /** IDs of ours that the connection may have at one time, those included that the peer has not retired yet. */
  readonly idsMax: number;
}

/** A peer that allows 8 IDs may have 15 of them while it retires the older half. */
export const ROTATION_DEFAULTS: RotationOptions = { intervalMs: 300_000, idsMax: 16 };

export class CidRotation {
  readonly #options: RotationOptions;
  readonly #ids: Uint8Array[] = [];
  #state: RotationState = "idle";
  #dueMs = Infinity;
  #rotations = 0;

  /** `firstIds` are those that the connection began with. */
  constructor(options: RotationOptions, firstIds: readonly Uint8Array[]) {
    assert(options.idsMax > firstIds.length && options.intervalMs > 0, "rotation needs a free place and an interval");
    this.#options = options;
    this.#ids.push(...firstIds);
  }

  get state(): RotationState {
    return this.#state;
  }

  /** When {@linkcode isDue} will say so; Infinity when nothing is planned. */
  get dueMs(): number {
    return this.#state === "waiting" ? this.#dueMs : Infinity;
  }

  /** Our IDs of this connection, oldest first. Each stands in the table of connections. */
  get ids(): readonly Uint8Array[] {
    return this.#ids;
  }

  /** IDs issued so far. */
  get rotations(): number {
    return this.#rotations;
  }

  /** The connection is established. `random` in [0, 1) spreads the connections of one moment over time. */
  start(nowMs: number, random: number): void {
    this.#enter("start");
    // The first rotation anywhere in an interval, so that connections made together do not rotate together.
    this.#dueMs = nowMs + Math.ceil(this.#options.intervalMs * (1 - random));
  }

  /** Whether an ID may be issued beside the rotation. */
  get hasRoom(): boolean {
    return this.#state !== "stopped" && this.#ids.length + 1 < this.#options.idsMax;
  }

  /**
   * An ID that was issued beside the rotation: the peer has some to move to (RFC 9000 §5.1.1), and with all its places taken
   * every rotation retires one.
   */
  addSpare(id: Uint8Array): void {
    assert(this.hasRoom, "no room for a spare connection ID");
    this.#ids.push(id);
  }

  /**
   * Whether a new ID must be issued now. If so, the caller hands one to the engine and answers with {@linkcode issued} or
   * {@linkcode refused}.
   */
  isDue(nowMs: number): boolean {
    if (this.#state !== "waiting" || nowMs < this.#dueMs) return false;
    this.#enter("due");
    return true;
  }

  /** The engine took the ID. */
  issued(id: Uint8Array, nowMs: number): void {
    this.#enter(this.#ids.length + 1 >= this.#options.idsMax ? "filled" : "issued");
    this.#ids.push(id);
    this.#rotations++;
    this.#dueMs = nowMs + this.#options.intervalMs;
  }

  /** The engine did not take it (the peer still has to retire some): the next interval tries again. */
  refused(nowMs: number): void {
    this.#enter("refused");
    this.#dueMs = nowMs + this.#options.intervalMs;
  }

  /** The peer retired one of our IDs. Returns whether it was known; then it must leave the table of connections. */
  retired(id: Uint8Array): boolean {
    const at = this.#ids.findIndex((one) => one.length === id.length && one.every((byte, i) => byte === id[i]));
    if (at < 0) return false;
    this.#enter("retired");
    this.#ids.splice(at, 1);
    return true;
  }

  /** The connection is over. Returns all its IDs, which must leave the table of connections. */
  stop(): readonly Uint8Array[] {
    this.#enter("stop");
    return this.#ids.splice(0);
  }

  #enter(event: RotationEvent): void {
    const next = ROTATION_TABLE[this.#state][event];
    assert(next !== null, `rotation of connection IDs: ${event} while ${this.#state}`);
    this.#state = next;
  }
}
