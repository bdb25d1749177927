/**
 * The one loop of the data plane: wait for sockets or the next deadline, hand out events, run timers, then let the endpoint
 * flush what the turn produced. Everything inside is synchronous; the only place that blocks is `epoll_wait`.
 */
import { assert, type Timer, TimerHeap } from "../base/mod.ts";
import type { Libc } from "./native.ts";
import type { ArenaLayout } from "./arena.ts";
import { MACHINE } from "./native_machine.ts";

export const EPOLLIN = 0x001;
export const EPOLLOUT = 0x004;
export const EPOLLERR = 0x008;
export const EPOLLHUP = 0x010;
export const EPOLLRDHUP = 0x2000;
export const EPOLLET = 0x8000_0000;

/** Events taken from the kernel in one turn; the rest come in the next. */
const EVENTS_PER_TURN = 256;
const { epollEventBytes: EPOLL_EVENT_BYTES, epollTokenAt: EPOLL_TOKEN_AT } = MACHINE;
/** The longest sleep, so that a clock step or a lost wake-up cannot park the loop. */
const SLEEP_MAX_MS = 10_000;

/** Something with a file descriptor. */
export interface EventSource {
  /** `events` is the epoll mask. Called at most once per turn. */
  onEvents(events: number, nowMs: number): void;
}

/** Work that was cut off by a budget and goes on in the next turn. */
export interface Deferred {
  /** True while it waits in the queue; owned by {@linkcode Reactor}. */
  isDeferred: boolean;
  resume(nowMs: number): void;
}

/** Shared memory in which others leave work: looked at in every turn, and asked before the loop sleeps. */
export interface Inbox {
  /** Takes what is there. */
  take(nowMs: number): void;
  /** Tells the others that the loop is about to sleep. False when something has come meanwhile: then it does not. */
  maySleep(): boolean;
}

export class Reactor {
  readonly libc: Libc;
  readonly #timers = new TimerHeap();
  readonly #clock: () => number;
  readonly #epoll: number;
  readonly #eventsAt: number;
  readonly #sources: (EventSource | null)[] = [];
  readonly #freeTokens: number[] = [];
  /** Tokens released in this turn: not reused before it ends, since its events may still name them. */
  readonly #releasedTokens: number[] = [];
  readonly #turnEnds: ((nowMs: number) => void)[] = [];
  #deferred: Deferred[] = [];
  #resuming: Deferred[] = [];
  #inbox: Inbox | null = null;
  #stopped = false;
  #again = false;
  #nowMs: number;

  /** `clock` is monotonic milliseconds. */
  constructor(libc: Libc, layout: ArenaLayout, clock: () => number) {
    this.libc = libc;
    this.#clock = clock;
    this.#nowMs = clock();
    this.#eventsAt = layout.reserve(EVENTS_PER_TURN * EPOLL_EVENT_BYTES);
    this.#epoll = libc.epollCreate();
    assert(this.#epoll >= 0, `epoll_create1 failed (errno ${-this.#epoll})`);
  }

  /** The time of the current turn, monotonic milliseconds. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** The time now, when the turn may have lasted a while: for what is measured, not for deadlines. */
  get clockMs(): number {
    return this.#clock();
  }

  /** Watches `fd`. Returns the token to give to {@linkcode modify} and {@linkcode remove}, or `-errno`. */
  add(fd: number, events: number, source: EventSource): number {
    const token = this.#freeTokens.pop() ?? this.#sources.length;
    this.#sources[token] = source;
    const failed = this.libc.epollControl(this.#epoll, 1, fd, events, token);
    if (failed < 0) {
      this.#sources[token] = null;
      this.#freeTokens.push(token);
      return failed;
    }
    return token;
  }

  modify(fd: number, events: number, token: number): void {
    this.libc.epollControl(this.#epoll, 3, fd, events, token);
  }

  /** Stops watching. Call it before closing the descriptor. */
  remove(fd: number, token: number): void {
    this.libc.epollControl(this.#epoll, 2, fd, 0, token);
    this.#sources[token] = null;
    this.#releasedTokens.push(token);
  }

  setTimer(timer: Timer, deadlineMs: number): void {
    this.#timers.set(timer, deadlineMs);
  }

  cancelTimer(timer: Timer): void {
    this.#timers.cancel(timer);
  }

  /** Runs at the end of every turn, in the order of registration. */
  onTurnEnd(callback: (nowMs: number) => void): void {
    this.#turnEnds.push(callback);
  }

  /** There is one inbox at most. */
  setInbox(inbox: Inbox): void {
    this.#inbox = inbox;
  }

  /** Asks for another turn without sleeping: somebody has work left that no event will announce. */
  again(): void {
    this.#again = true;
  }

  /** Calls `task.resume` in the next turn, which does not sleep. Twice is once. */
  defer(task: Deferred): void {
    if (task.isDeferred) return;
    task.isDeferred = true;
    this.#deferred.push(task);
    this.#again = true;
  }

  stop(): void {
    this.#stopped = true;
  }

  /** Turns until {@linkcode stop}. */
  run(): void {
    while (!this.#stopped) this.turn();
  }

  /** One turn: wait, events, timers, deferred work, ends. */
  turn(): void {
    const view = this.libc.arena.view;
    const count = this.libc.epollWait(this.#epoll, this.#eventsAt, EVENTS_PER_TURN, this.#sleepMs());
    this.#nowMs = this.#clock();
    for (let i = 0; i < count; i++) {
      const at = this.#eventsAt + i * EPOLL_EVENT_BYTES;
      const source = this.#sources[view.getUint32(at + EPOLL_TOKEN_AT, true)];
      if (source) source.onEvents(view.getUint32(at, true), this.#nowMs);
    }
    if (this.#inbox !== null) this.#inbox.take(this.#nowMs);
    this.#timers.run(this.#nowMs);
    if (this.#deferred.length > 0) this.#resume();
    for (const end of this.#turnEnds) end(this.#nowMs);
    while (this.#releasedTokens.length > 0) this.#freeTokens.push(this.#releasedTokens.pop() as number);
  }

  #resume(): void {
    const due = this.#deferred;
    this.#deferred = this.#resuming;
    this.#resuming = due;
    for (const task of due) {
      task.isDeferred = false;
      task.resume(this.#nowMs);
    }
    due.length = 0;
  }

  #sleepMs(): number {
    if (this.#again) {
      this.#again = false;
      return 0;
    }
    if (this.#inbox !== null && !this.#inbox.maySleep()) return 0;
    const next = this.#timers.nextMs;
    if (next === Infinity) return SLEEP_MAX_MS;
    return Math.min(SLEEP_MAX_MS, Math.max(0, Math.ceil(next - this.#clock())));
  }
}
