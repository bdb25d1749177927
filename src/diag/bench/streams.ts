/**
 * Streams to a TCP service: each asks with so many bytes and waits for as many to come back, or, one way, sends and only empties what
 * comes. Each stream is opened once, as a connection of an agent is.
 */
import { Timer } from "../../base/mod.ts";
import { abortStream, type Connection, EngineError, HeaderReader, sendWhole } from "../../core/quic/mod.ts";
import { AbortCode, decodeResult, encodeOpen, OPEN_MAX_BYTES, RESULT_MAX_BYTES } from "../../core/wire/mod.ts";
import type { ProbeConnection, ProbeWorld } from "../probe/mod.ts";
import type { BenchPlan } from "./options.ts";
import type { Tally } from "./tally.ts";

const CHUNK_BYTES = 64 * 1024;
/** From one stream of a client to its next (RFC 9000 §2.1). */
const STREAM_STEP = 4;
/** Longer than a server waits for a connector, and that for its backend. */
const OPEN_MS = 20_000;
const TICK_MS = 1, SLICE_MS = 20;

/** Null: all were opened and did what they should; else why not. */
export async function loadStreams(
  world: ProbeWorld,
  dialled: ProbeConnection,
  plan: BenchPlan,
  tally: Tally,
  onBegin: () => void,
): Promise<string | null> {
  const { reactor, layout, engine } = world, { connection } = dialled;
  const scratchAt = layout.reserve(Math.max(OPEN_MAX_BYTES, RESULT_MAX_BYTES)), chunkAt = layout.reserve(CHUNK_BYTES);
  engine.arena.bytes.fill(0x62, chunkAt, chunkAt + CHUNK_BYTES);
  const lanes = Array.from({ length: plan.connections }, (_, i) => {
    return new Lane(world, connection, { stream: i * STREAM_STEP, scratchAt, chunkAt }, plan, tally);
  });
  const isReady = () => lanes.filter((lane) => !lane.isDecided()).length === 0;
  if (!await dialled.until(isReady, OPEN_MS)) return "the streams were not opened in time";
  const refused = lanes.find((lane) => lane.problem !== null);
  if (refused !== undefined) return refused.problem;
  const tick = new Timer(() => {}), begunMs = reactor.clockMs, endMs = begunMs + plan.durationMs;
  onBegin();
  for (const [i, lane] of lanes.entries()) lane.begin(begunMs, i);
  for (let yieldedMs = begunMs; reactor.clockMs < endMs && !connection.isOver;) {
    if (lanes.some((lane) => lane.problem !== null)) break;
    // What one lane wrote makes room for another: the turn sends it.
    if (lanes.map((lane) => lane.work(reactor.clockMs)).includes(true)) reactor.again();
    reactor.setTimer(tick, reactor.clockMs + TICK_MS);
    reactor.turn();
    if (reactor.clockMs - yieldedMs < SLICE_MS) continue;
    await new Promise((resolve) => setTimeout(resolve, 0));
    yieldedMs = reactor.clockMs;
  }
  for (const lane of lanes) lane.end();
  return lanes.find((lane) => lane.problem !== null)?.problem ?? (connection.isOver ? "the server closed the connection" : null);
}

/** Which stream, and where in the arena it may work within one call. */
interface LaneAt {
  readonly stream: number;
  readonly scratchAt: number;
  readonly chunkAt: number;
}

/** One stream. */
class Lane {
  problem: string | null = null;
  readonly #connection: Connection;
  readonly #at: LaneAt;
  readonly #plan: BenchPlan;
  readonly #tally: Tally;
  readonly #header: HeaderReader;
  #isOpen = false;
  /** Of the request under way: what is still to be written and what is still to come. */
  #toSend = 0;
  #toCome = 0;
  #askedMs = 0;
  #nextMs = 0;

  constructor(world: ProbeWorld, connection: Connection, at: LaneAt, plan: BenchPlan, tally: Tally) {
    const { engine } = world;
    this.#connection = connection;
    this.#at = at;
    this.#plan = plan;
    this.#tally = tally;
    this.#header = new HeaderReader(engine, at.scratchAt, RESULT_MAX_BYTES);
    const length = encodeOpen(engine.arena.bytes, at.scratchAt, { service: plan.service, agent: null });
    if (sendWhole(connection, at.stream, at.scratchAt, length, false) !== "sent") {
      this.problem = "the server allows no more streams now: fewer --connections";
    }
  }

  /** Takes what came of the server's answer, and says whether that is all. */
  isDecided(): boolean {
    while (!this.#isOpen && this.problem === null && !this.#connection.isOver) {
      const result = decodeResult(this.#header.bytes, 0, this.#header.length);
      if (result.kind === "malformed") this.problem = `a malformed answer (${result.why})`;
      else if (result.kind === "result") {
        if (result.code === "accepted") this.#isOpen = true;
        else this.problem = `${this.#plan.service}: ${result.code}${result.reason === "" ? "" : ` (${result.reason})`}`;
      } else {
        const progress = this.#header.fill(this.#connection, this.#at.stream, result.bytes);
        if (progress === "need") return false;
        if (progress !== "complete") this.problem = "the stream ended without an answer";
      }
    }
    return this.#isOpen || this.problem !== null;
  }

  /** The lanes of a rate begin one after the other. */
  begin(nowMs: number, index: number): void {
    this.#nextMs = nowMs + (this.#plan.perSecond === null ? 0 : index * 1_000 / this.#plan.perSecond);
  }

  /** Writes and reads what goes now. Returns whether there may be more to do at once. */
  work(nowMs: number): boolean {
    const { sizeBytes, perSecond, connections } = this.#plan;
    if (this.#toSend === 0 && this.#toCome === 0 && nowMs >= this.#nextMs) {
      [this.#toSend, this.#toCome, this.#askedMs] = [sizeBytes, this.#plan.isOneWay ? 0 : sizeBytes, nowMs];
      if (perSecond !== null) this.#nextMs += connections * 1_000 / perSecond;
      this.#tally.sent++;
    }
    const wrote = this.#write(nowMs), read = this.#read(nowMs);
    return wrote || read;
  }

  end(): void {
    if (this.#connection.isOver) return;
    abortStream(this.#connection, this.#at.stream, AbortCode.aborted);
  }

  #write(nowMs: number): boolean {
    if (this.#toSend === 0) return false;
    const { engine } = this.#connection, { stream, chunkAt } = this.#at;
    const count = engine.streamSend(stream, chunkAt, Math.min(this.#toSend, CHUNK_BYTES), false);
    if (count === EngineError.done || count === 0) return false;
    if (count < 0) return this.#fail();
    this.#connection.touch();
    this.#toSend -= count;
    // One way nothing says when it arrived: what the connection took is what counts.
    if (this.#plan.isOneWay && this.#toSend === 0) this.#tally.answer(nowMs - this.#askedMs, this.#plan.sizeBytes);
    return true;
  }

  #read(nowMs: number): boolean {
    const count = this.#connection.engine.streamRecv(this.#at.stream, this.#at.chunkAt, CHUNK_BYTES);
    if (count === EngineError.done) return false;
    if (count < 0) return this.#fail();
    this.#connection.touch();
    if (this.#plan.isOneWay) return count > 0;
    if (count === 0 || count > this.#toCome) return this.#fail();
    this.#toCome -= count;
    if (this.#toCome === 0) this.#tally.answer(nowMs - this.#askedMs, this.#plan.sizeBytes);
    return true;
  }

  #fail(): false {
    this.problem = this.#plan.isOneWay
      ? "the service ended a connection"
      : "the service does not send back what it gets: take --one-way for one that discards";
    return false;
  }
}
